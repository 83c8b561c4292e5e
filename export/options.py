"""SourceOptions: what a source does not say itself."""

from dataclasses import dataclass
from pathlib import Path

from gpt2edge._checks import check_int, check_one_of, check_path
from gpt2edge.config import ACTIVATIONS
from gpt2edge.export.sources.tensor_layout import VALUE_HEADS
from gpt2edge.export.tokenizers.options import TokenizerOptions

_MOST_HEADS = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What a source does not say itself; None leaves it to the source.

    ``tokenizer`` is a file or a folder with the tokenizer, ``base`` the checkpoint that an adapter
    changes, ``heads`` the number of attention heads, which no tensor shows, and ``activation`` the
    activation function where a form has had several. ``lowercase`` and ``tokenizer_pattern`` are
    those of ``TokenizerOptions``. ``head`` names a value head, one of ``VALUE_HEADS``, to export in
    place of the language model's. Raises ValueError for a wrong value.
    """

    tokenizer: Path | None = None
    base: Path | None = None
    heads: int | None = None
    activation: str | None = None
    lowercase: bool | None = None
    tokenizer_pattern: str | None = None
    head: str | None = None

    def __post_init__(self) -> None:
        for name in ("tokenizer", "base"):
            if getattr(self, name) is not None:
                check_path(name, getattr(self, name))
        TokenizerOptions(lowercase=self.lowercase, pattern=self.tokenizer_pattern)  # checks them
        if self.head is not None:
            check_one_of("head", self.head, VALUE_HEADS)
        if self.heads is not None:
            check_int("heads", self.heads, 1, _MOST_HEADS)
        if self.activation is not None:
            check_one_of("activation", self.activation, ACTIVATIONS)
