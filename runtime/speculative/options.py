"""What guesses the next tokens, so that one forward call may yield several.

The guesses change the speed and nothing else: each token is drawn by the sampler from the model's
own logits, and a guess that is not what was drawn is taken back. Text, log-probabilities and random
stream are those of plain decoding, within the rounding of a wider call.
"""

import os
from dataclasses import dataclass

from gpt2edge._checks import MODEL, path_like, whole

_WIDEST = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptLookup:
    """Guess what followed the last few tokens where they stood before (Saxena 2023).

    For texts that repeat their prompt: quotes, summaries, edits of code. ``min_ngram`` to
    ``max_ngram`` tokens must agree, the longest agreement counts, and of several places the last.
    At most ``max_tokens`` are guessed at once.
    """

    max_tokens: int = _WIDEST
    min_ngram: int = 2
    max_ngram: int = 5

    def __post_init__(self) -> None:
        whole("max_tokens", self.max_tokens, 1, _WIDEST)
        whole("min_ngram", self.min_ngram, 1, 64)
        whole("max_ngram", self.max_ngram, self.min_ngram, 64)


@dataclass(frozen=True, slots=True)
class DraftModel:
    """Guess what a smaller model with the same tokenizer draws (Leviathan et al. 2023).

    It draws with the target's sampling parameters and the very random numbers that the target will
    use, so that similar models draw alike.
    """

    model: str | os.PathLike[str]
    max_tokens: int = 7

    def __post_init__(self) -> None:
        path_like("model", self.model, MODEL)
        whole("max_tokens", self.max_tokens, 1, _WIDEST)
