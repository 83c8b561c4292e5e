"""Options for sampling, for beam search and for where a completion ends."""

from dataclasses import dataclass
from typing import Final

import click

from gpt2edge.cli.help import BASIC, BEAMS, SAMPLING, section

_basic = section(BASIC)
_sampling = section(SAMPLING)
_beams = section(BEAMS)


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
    _sampling(
        "--temperature",
        type=float,
        metavar="T",
        common=True,
        help="Sampling temperature; 0 takes the most likely token.  [default: 0.8; generate in a "
        "pipe: 0]",
    ),
    _sampling(
        "--top-k",
        type=int,
        metavar="K",
        common=True,
        help="Sample from the K most likely tokens; 0 is off.  [default: 0]",
    ),
    _sampling(
        "--top-p",
        type=float,
        metavar="P",
        common=True,
        help="Sample from the fewest tokens of total probability P.  [default: 1; generate without "
        "--temperature: 0.95]",
    ),
    _sampling(
        "--min-p",
        type=float,
        metavar="P",
        help="Drop tokens less likely than P times the most likely one.  [default: 0]",
    ),
    _sampling(
        "--typical-p",
        type=float,
        metavar="P",
        help="Locally typical sampling with total probability P.  [default: 1]",
    ),
    _sampling(
        "--repetition-penalty",
        type=float,
        metavar="X",
        common=True,
        help="Make tokens of the text less likely, by the factor X; 1 is off.  [default: 1]",
    ),
    _sampling(
        "--presence-penalty",
        type=float,
        metavar="X",
        help="Subtract X from the logit of every token generated so far.  [default: 0]",
    ),
    _sampling(
        "--frequency-penalty",
        type=float,
        metavar="X",
        help="Subtract X from a token's logit for each time it was generated.  [default: 0]",
    ),
    _sampling(
        "--no-repeat-ngram-size",
        type=int,
        metavar="N",
        help="Never repeat a sequence of N tokens; 0 is off.  [default: 0]",
    ),
    _sampling(
        "--bad-word",
        multiple=True,
        metavar="TEXT",
        help="Never generate the tokens of TEXT; ' word' and 'word' differ. Repeatable.",
    ),
    _sampling(
        "--bad-words-ids",
        multiple=True,
        metavar="IDS",
        help='Never generate these token ids, such as "13 262". Repeatable.',
    ),
    _sampling(
        "-l",
        "--logit-bias",
        multiple=True,
        metavar="ID+X",
        help="Add X to a token's logit: 13+2.5, or 13-inf to forbid it. Repeatable.",
    ),
    _sampling(
        "-s",
        "--seed",
        type=int,
        metavar="N",
        common=True,
        help="Random seed: same command, same seed, same text.  [default: random]",
    ),
)

END_OPTIONS: Final = (
    _basic(
        "-n",
        "--max-new-tokens",
        type=int,
        metavar="N",
        common=True,
        help="At most N new tokens; -1: until the text or the context ends.  [default: the "
        "model's, else 128]",
    ),
    _basic(
        "--min-new-tokens",
        type=int,
        metavar="N",
        help="Generate at least N new tokens.  [default: the model's, else 0]",
    ),
    _basic(
        "--stop",
        multiple=True,
        metavar="TEXT",
        common=True,
        help="End before TEXT. Repeatable.",
    ),
    _basic(
        "--escape",
        is_flag=True,
        help=r"Interpret \n, \r, \t and \\ in every option's TEXT.",
    ),
    _basic("--ignore-eos", is_flag=True, help="Continue past the end-of-text token."),
)

EXTENT_OPTIONS: Final = (
    _beams(
        "--num-beams",
        type=int,
        metavar="N",
        help="Beam search of width N; 1 is off. --samples prints the best N beams.  [default: the "
        "model's, else 1]",
    ),
    _beams(
        "--length-penalty",
        type=float,
        metavar="X",
        help="Rank beams by log-probability / length ** X; X above 0 favours longer ones.  "
        "[default: the model's, else 1]",
    ),
    _beams(
        "--early-stopping",
        type=click.Choice(["true", "false", "never"]),
        help="Stop beam search once N beams have ended (true), by an estimate (false), or only "
        "when no beam can win (never).  [default: the model's, else false]",
    ),
    _basic(
        "--max-time",
        type=float,
        metavar="SECONDS",
        help="Stop after this time.  [default: the model's, else none]",
    ),
    _basic(
        "--overflow",
        type=click.Choice(["error", "truncate-left", "slide"]),
        default="error",
        help="When the text exceeds the context: fail, drop the prompt's oldest tokens, or "
        "continue from the newer half.",
    ),
    _basic(
        "--keep",
        type=int,
        default=0,
        metavar="N",
        help="Keep the first N tokens when others are dropped.",
    ),
)
