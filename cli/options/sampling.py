"""Options for sampling, for beam search and for where a completion ends."""

from dataclasses import dataclass
from typing import Final

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingFlags:
    """The sampling options given; None or empty where an option is absent."""

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
    """The options given that end a completion."""

    max_new_tokens: int | None
    min_new_tokens: int | None
    stop: tuple[str, ...]
    escape: bool
    ignore_eos: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtentFlags:
    """The options given for beam search, the time limit and the end of the context."""

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
        help="Sampling temperature; 0 is greedy. If the model's default is greedy, --top-k, "
        "--top-p, --min-p, --typical-p and --seed imply 1.",
    ),
    click.option(
        "--top-k", type=int, metavar="K", help="Sample from the K most likely tokens; 0 is off."
    ),
    click.option(
        "--top-p",
        type=float,
        metavar="P",
        help="Nucleus sampling: the smallest set of tokens with total probability P.",
    ),
    click.option(
        "--min-p",
        type=float,
        metavar="P",
        help="Drop tokens less likely than P times the most likely one.",
    ),
    click.option(
        "--typical-p",
        "--typical",
        "typical_p",
        type=float,
        metavar="P",
        help="Locally typical sampling with total probability P.",
    ),
    click.option(
        "--repeat-penalty",
        "--repetition-penalty",
        "repetition_penalty",
        type=float,
        metavar="X",
        help="Scale down the logits of tokens already in the text by X; 1 is off.",
    ),
    click.option(
        "--presence-penalty",
        type=float,
        metavar="X",
        help="Subtract X from the logit of every token generated so far.",
    ),
    click.option(
        "--frequency-penalty",
        type=float,
        metavar="X",
        help="Subtract X from a token's logit for each time it was generated.",
    ),
    click.option(
        "--no-repeat-ngram-size",
        type=int,
        metavar="N",
        help="Never repeat a sequence of N tokens.",
    ),
    click.option(
        "--bad-word",
        multiple=True,
        metavar="TEXT",
        help="Never generate the tokens of TEXT; ' word' and 'word' differ. Repeatable.",
    ),
    click.option(
        "--bad-words-ids",
        multiple=True,
        metavar="IDS",
        help='Never generate these token ids, such as "13 262". Repeatable.',
    ),
    click.option(
        "-l",
        "--logit-bias",
        multiple=True,
        metavar="ID+X",
        help="Add X to a token's logit: 13+2.5, or 13-inf to forbid it. Repeatable.",
    ),
    click.option(
        "-s",
        "--seed",
        type=int,
        metavar="N",
        help="Random seed; the same command and seed give the same text.",
    ),
)

END_OPTIONS: Final = (
    click.option(
        "-n", "--max-new-tokens", type=int, metavar="N", help="Generate at most N new tokens."
    ),
    click.option(
        "--min-new-tokens",
        type=int,
        metavar="N",
        help="Generate at least N new tokens.",
    ),
    click.option(
        "--stop",
        multiple=True,
        metavar="TEXT",
        help="Stop before TEXT. Repeatable.",
    ),
    click.option(
        "--escape",
        is_flag=True,
        help=r"Interpret \n, \r, \t and \\ in every option's TEXT.",
    ),
    click.option("--ignore-eos", is_flag=True, help="Continue past the end-of-text token."),
)

EXTENT_OPTIONS: Final = (
    click.option(
        "--num-beams",
        type=int,
        metavar="N",
        help="Beam search of width N; 1 is off. --samples prints the best N beams.",
    ),
    click.option(
        "--length-penalty",
        type=float,
        metavar="X",
        help="Rank beams by log-probability / length ** X; X above 0 favours longer ones.",
    ),
    click.option(
        "--early-stopping",
        type=click.Choice(["true", "false", "never"]),
        help="Stop beam search once N beams have ended (true), by an estimate (false), or only "
        "when no beam can win (never).",
    ),
    click.option("--max-time", type=float, metavar="SECONDS", help="Stop after this time."),
    click.option(
        "--overflow",
        type=click.Choice(["error", "truncate-left", "slide"]),
        default="error",
        show_default=True,
        help="When the text exceeds the context: fail, drop the prompt's oldest tokens, or "
        "continue from the newer half.",
    ),
    click.option(
        "--context-shift", "overflow", flag_value="slide", help="Same as --overflow slide."
    ),
    click.option(
        "--keep",
        type=int,
        default=0,
        metavar="N",
        help="Keep the first N tokens when others are dropped.",
    ),
)
