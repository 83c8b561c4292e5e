"""Tokens that a model was hardly trained on, and which it cannot say (" SolidGoldMagikarp").

Land & Bartolo 2024 ("Fishing for Magikarp"): rows of the output matrix that no text ever pushed
apart stay near those of tokens that cannot occur, bytes that UTF-8 never has. The cosine distance
to their mean is the indicator; the smaller, the less trained. The distance to the centroid of all
tokens, by which the first such tokens were found, is given as a curiosity.

Candidates are verified by asking the model to repeat them. A model that does not repeat ordinary
tokens either verifies nothing, so a control of ordinary tokens is run and told.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_bool, check_callable, check_float
from gpt2edge.errors import InsideError
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.log_probs import log_softmax
from gpt2edge.runtime.text.tokenizer import Tokenizer

Category: TypeAlias = Literal[
    "ok", "special", "unused byte", "byte", "part of a character", "unreachable"
]
_CONTROL: Final = 100
_REPEATS: Final = 0.1
"""Median probability of ordinary tokens below which the model does not repeat."""
_STRONG: Final = 0.001
_VERIFIED: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class UndertrainedToken:
    """A candidate: the smaller ``to_unused``, the less it was trained.

    ``probability`` is the largest with which the model repeats it; None where it was not asked.
    """

    token_id: int
    text: str
    to_unused: float
    to_centroid: float
    norm: float
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UndertrainedTokens:
    """Candidates, the least trained first, and the ground they stand on.

    ``verifiable`` is None where nothing was asked, and False where the model does not repeat
    ordinary tokens either: their median probability is ``control``. ``typical`` are the 1st, 50th
    and 99th percentile of ordinary tokens' distance, ``unused`` that of the bytes that never occur.
    """

    candidates: tuple[UndertrainedToken, ...]
    categories: dict[str, int]
    typical: tuple[float, float, float]
    unused: float
    control: float | None
    verifiable: bool | None

    def verified(self, below: float = _VERIFIED) -> list[UndertrainedToken]:
        """Return the candidates that the model does not repeat; none where it repeats nothing."""
        if not self.verifiable:
            return []
        return [each for each in self.candidates if (each.probability or 0) < below]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def token_category(tokenizer: Tokenizer, token_id: int) -> Category:
    """Tell what kind of token it is; only "ok" ones can be under-trained in an interesting way."""
    raw = tokenizer.token_bytes(token_id)
    if token_id in tokenizer.special_ids or not raw:
        return "special"
    if len(raw) == 1 and tokenizer.is_byte_level:
        return "unused byte" if raw[0] in (0xC0, 0xC1) or raw[0] >= 0xF5 else "byte"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "part of a character"
    return "ok" if tokenizer.encode(text) == [token_id] else "unreachable"


def undertrained_tokens(
    engine: Engine,
    *,
    share: float = 0.02,
    verify: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> UndertrainedTokens:
    """Return the ``share`` of ordinary tokens that look least trained.

    ``verify`` asks the model to repeat each of them, and 100 others. Raises InsideError where the
    vocabulary has no bytes that cannot occur, ValueError without a tokenizer.
    """
    check_float("share", share, 0, 1, open_low=True)
    check_bool("verify", verify)
    check_callable("progress", progress)
    engine.model.require_language_model()
    if engine.tokenizer is None:
        raise ValueError("the model has no tokenizer, so its tokens have no text")
    size = min(engine.config.vocab_size, engine.tokenizer.vocab_size)
    kinds = np.array([token_category(engine.tokenizer, at) for at in range(size)])
    unused, ordinary = np.flatnonzero(kinds == "unused byte"), np.flatnonzero(kinds == "ok")
    if not len(unused):
        raise InsideError(
            "the vocabulary has no bytes that UTF-8 never uses, to compare tokens with: only "
            "byte-level vocabularies, as GPT-2's, have them"
        )
    rows = np.asarray(engine.inside().tensors.unembedding(), np.float32)[:size]
    near, centre, norm = _indicators(rows, unused)
    count = max(1, round(share * len(ordinary)))
    chosen = ordinary[np.argsort(near[ordinary], kind="stable")[:count]]
    asked = _ask(engine, chosen, ordinary, progress) if verify else None
    found = [
        UndertrainedToken(
            token_id=int(at),
            text=engine.tokenizer.piece(int(at)),
            to_unused=float(near[at]),
            to_centroid=float(centre[at]),
            norm=float(norm[at]),
            probability=None if asked is None else asked[0][place],
        )
        for place, at in enumerate(chosen)
    ]
    first, middle, last = (float(np.percentile(near[ordinary], at)) for at in (1, 50, 99))
    return UndertrainedTokens(
        candidates=tuple(found),
        categories={str(kind): int((kinds == kind).sum()) for kind in sorted(set(kinds))},
        typical=(first, middle, last),
        unused=float(near[unused].max()),
        control=None if asked is None else asked[1],
        verifiable=None if asked is None else asked[1] >= _REPEATS,
    )


def _indicators(
    rows: FloatArray, unused: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return cosine distance to the unused rows' mean, distance to the centroid, and norm."""
    norm = np.linalg.norm(rows, axis=1)
    mean = rows[unused].mean(axis=0)
    near = 1 - rows @ mean / np.maximum(norm * np.linalg.norm(mean), 1e-12)
    return near, np.linalg.norm(rows - rows.mean(axis=0), axis=1), norm


def _ask(
    engine: Engine,
    chosen: NDArray[np.int64],
    ordinary: NDArray[np.int64],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[float], float]:
    """Return how likely the model repeats each of ``chosen``, and the median of a control."""
    rest = np.setdiff1d(ordinary, chosen)
    rng = np.random.default_rng(0)
    control = rng.choice(rest, min(_CONTROL, len(rest)), replace=False) if len(rest) else rest
    every = [*chosen.tolist(), *control.tolist()]
    found = []
    for done, token_id in enumerate(every, 1):
        found.append(_repeated(engine, int(token_id)))
        if progress is not None:
            progress(done, len(every))
    median = float(np.median(found[len(chosen) :])) if len(control) else 0.0
    return found[: len(chosen)], median


def _repeated(engine: Engine, token_id: int) -> float:
    """Return the largest probability of the token after three prompts that repeat it."""
    best = 0.0
    for prompt in _prompts(engine, token_id):
        logits = engine.logits(prompt[-engine.config.n_positions :])[-1]
        best = max(best, float(np.exp(log_softmax(logits[None])[0, token_id])))
    return best


def _prompts(engine: Engine, token_id: int) -> list[list[int]]:
    """Return three prompts whose continuation is the token."""

    def ids(text: str) -> list[int]:
        return engine.encode(text, add_special_tokens=False)

    said = [*ids(' "'), token_id, *ids('," said the one; "'), token_id, *ids('," said the other.')]
    return [
        [*ids("And he said it again and again:"), *[token_id] * 30],
        [*said * 6, *ids(' "')],
        [*([*ids("\n-"), token_id] * 12), *ids("\n-")],
    ]
