"""Options that tell what a source of a model does not say itself."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gpt2edge.cli.help import Decorator
from gpt2edge.cli.options.common import bundled

if TYPE_CHECKING:
    from gpt2edge.export.options import SourceOptions

_OPTIONS: Final = (
    click.option(
        "--tokenizer",
        type=click.Path(exists=True, path_type=Path),
        metavar="PATH",
        help="Take the tokenizer from this folder or file.  [default: SOURCE's folder]",
    ),
    click.option(
        "--head",
        type=click.Choice(["v_head", "multiple_choice_head"]),
        help="Export a value head in place of the language model's: TRL's, or that of a "
        "DoubleHeads model. It scores every token, as a verifier for solve.",
    ),
    click.option(
        "--base",
        type=click.Path(exists=True, path_type=Path),
        metavar="PATH",
        help="The checkpoint that SOURCE, an adapter, changes.  [default: as the adapter says]",
    ),
    click.option(
        "--heads",
        type=click.IntRange(1),
        metavar="N",
        help="The number of attention heads, where SOURCE does not say it.",
    ),
    click.option(
        "--activation",
        metavar="NAME",
        help="The activation function, where SOURCE does not say it: gelu (exact) or gelu_new "
        "(tanh).  [default: that of the program that wrote SOURCE]",
    ),
    click.option(
        "--lowercase/--no-lowercase",
        default=None,
        help="Turn texts into lower case before they are encoded, as the cards of rinna's models "
        "ask for.  [default: as the tokenizer's files say]",
    ),
    click.option(
        "--tokenizer-pattern",
        metavar="NAME",
        help="How a .tiktoken file's texts are cut into words, which the file does not say: gpt2.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceArguments:
    """What the command line says about a source."""

    tokenizer: Path | None
    head: str | None
    base: Path | None
    heads: int | None
    activation: str | None
    lowercase: bool | None
    tokenizer_pattern: str | None

    @property
    def is_given(self) -> bool:
        """Return whether any of the options is given."""
        return any(value is not None for value in asdict(self).values())

    def options(self) -> "SourceOptions":
        """Return the library's options. Raises ValueError for a wrong one."""
        from gpt2edge.export.options import SourceOptions

        return SourceOptions(**asdict(self))

    @staticmethod
    def decorator() -> Decorator:
        """Return the decorator for a command that takes ``about``."""
        return bundled("about", SourceArguments, *_OPTIONS)
