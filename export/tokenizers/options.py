"""TokenizerOptions: what a checkpoint's tokenizer files do not say."""

from dataclasses import dataclass

from gpt2edge._checks import check_bool, check_one_of
from gpt2edge.export.tokenizers.ranks import PATTERNS


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerOptions:
    """Facts about a tokenizer that its files leave out; None takes what they say.

    ``lowercase`` turns texts into lower case before they are encoded, or leaves them as they are.
    ``pattern`` names the rule by which a ``.tiktoken`` file's texts are cut into words, "gpt2".
    Raises ValueError for other values.
    """

    lowercase: bool | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        if self.lowercase is not None:
            check_bool("lowercase", self.lowercase)
        if self.pattern is not None:
            check_one_of("pattern", self.pattern, tuple(PATTERNS))
