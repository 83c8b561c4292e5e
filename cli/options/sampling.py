"""Options that say how a completion is chosen and where it ends."""

from dataclasses import dataclass
from typing import Final

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingFlags:
    """What the command line says about sampling; None or empty where it says nothing."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    no_repeat_ngram_size: int | None
    bad_word: tuple[str, ...]
    bad_words_ids: tuple[str, ...]
    logit_bias: tuple[str, ...]
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFlags:
    """What the command line says about where a completion ends."""

    max_new_tokens: int | None
    min_new_tokens: int | None
    stop: tuple[str, ...]
    escape: bool
    ignore_eos: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtentFlags:
    """What it says about beams, about the deadline and about the end of the context."""

    num_beams: int | None
    length_penalty: float | None
    early_stopping: str | None
    max_time: float | None
    overflow: str
    keep: int


SAMPLING_OPTIONS: Final = (
    click.option(
        "--temperature",
        "--temp",
        type=float,
        metavar="T",
        help="Spread of the draw; 0 is greedy. Where the model's default is greedy, --top-k, "
        "--top-p, --min-p, --typical-p or --seed without this mean 1.",
    ),
    click.option("--top-k", type=int, metavar="K", help="Draw from the K likeliest; 0 is all."),
    click.option(
        "--top-p", type=float, metavar="P", help="Draw from the likeliest that make up P."
    ),
    click.option(
        "--min-p", type=float, metavar="P", help="Drop those under P times the likeliest."
    ),
    click.option(
        "--typical-p",
        "--typical",
        "typical_p",
        type=float,
        metavar="P",
        help="Draw from those of the most usual surprise that make up P.",
    ),
    click.option(
        "--repeat-penalty",
        "--repetition-penalty",
        "repetition_penalty",
        type=float,
        metavar="X",
        help="Make tokens seen before less likely; 1 changes nothing.",
    ),
    click.option(
        "--presence-penalty",
        type=float,
        metavar="X",
        help="Lower the logit of every token generated before by X.",
    ),
    click.option(
        "--frequency-penalty",
        type=float,
        metavar="X",
        help="The same, by X for each time it was generated.",
    ),
    click.option(
        "--no-repeat-ngram-size",
        type=int,
        metavar="N",
        help="Let no sequence of N tokens come twice.",
    ),
    click.option(
        "--bad-word",
        multiple=True,
        metavar="TEXT",
        help="Never write these tokens; ' word' and 'word' are not the same. May be repeated.",
    ),
    click.option(
        "--bad-words-ids",
        multiple=True,
        metavar="IDS",
        help='The same as token ids, such as "13 262". May be repeated.',
    ),
    click.option(
        "-l",
        "--logit-bias",
        multiple=True,
        metavar="ID+X",
        help="Add X to a token's logit: 13+2.5, or 13-inf to forbid it. May be repeated.",
    ),
    click.option(
        "-s",
        "--seed",
        type=int,
        metavar="N",
        help="The same seed in the same command, the same text.",
    ),
)

END_OPTIONS: Final = (
    click.option("-n", "--max-new-tokens", type=int, metavar="N", help="At most N new tokens."),
    click.option(
        "--min-new-tokens",
        type=int,
        metavar="N",
        help="No end before N new tokens.",
    ),
    click.option(
        "--stop",
        multiple=True,
        metavar="TEXT",
        help="End before TEXT; may be given more than once.",
    ),
    click.option(
        "--escape",
        is_flag=True,
        help=r"Read \n, \r, \t and \\ in the TEXT of an option as those characters.",
    ),
    click.option("--ignore-eos", is_flag=True, help="Go on past the end-of-text token."),
)

EXTENT_OPTIONS: Final = (
    click.option(
        "--num-beams",
        type=int,
        metavar="N",
        help="Beam search of width N, without sampling; the text comes at its end. 1 is none. "
        "--num-return-sequences shows the best ones.",
    ),
    click.option(
        "--length-penalty",
        type=float,
        metavar="X",
        help="Rank beams by their log-probability over length to the X; above 0 favours longer.",
    ),
    click.option(
        "--early-stopping",
        type=click.Choice(["true", "false", "never"]),
        help="End the search when N beams have ended, by an estimate, or only when none can win.",
    ),
    click.option("--max-time", type=float, metavar="SECONDS", help="End after this time."),
    click.option(
        "--overflow",
        type=click.Choice(["error", "truncate-left", "slide"]),
        default="error",
        show_default=True,
        help="Past the context: refuse, drop the oldest of the prompt, or go on with the newer "
        "half entered anew.",
    ),
    click.option("--context-shift", "overflow", flag_value="slide", help="Same as slide."),
    click.option(
        "--keep", type=int, default=0, metavar="N", help="Tokens at the start that always stay."
    ),
)
