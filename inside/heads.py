"""What each attention head does: does it look at the previous token, the first, a repeated one?

A score is the share of a head's attention that lies on the pattern (TransformerLens'
``head_detector`` with ``error_measure="mul"``; Olsson et al. 2022 for induction).
"""

from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int, check_one_of
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.inside.scope import Inside
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.request import Prompt

HeadKind: TypeAlias = Literal["previous_token", "first_token", "duplicate_token", "induction"]
HEAD_KINDS: Final = ("previous_token", "first_token", "duplicate_token", "induction")
_REPEATED: Final = 50


def head_scores(
    scope: Inside,
    kind: "HeadKind | NDArray[np.floating]",
    prompt: Prompt | None = None,
    *,
    seed: int = 0,
) -> FloatArray:
    """Return the share of each head's attention on a pattern, [layer, head], from 0 to 1.

    "previous_token", "first_token", "duplicate_token" (an earlier occurrence of the token) and
    "induction" (what came after one), or an array [query, key] of 0 and 1. The mean is taken over
    the queries that have such a key. By default the prompt is a sequence of random tokens, twice,
    after the begin-of-text token. Raises ValueError where no query has such a key.
    """
    token_ids = repeated(scope, seed) if prompt is None else scope.encode(prompt)
    if isinstance(kind, str):
        check_one_of("kind", kind, HEAD_KINDS)
        wanted = _wanted(kind, token_ids)
    else:
        wanted = np.asarray(kind, np.float64)
        if wanted.shape != (len(token_ids), len(token_ids)):
            raise ArgumentError(
                Argument("kind"),
                f" has shape {wanted.shape}; the prompt has {len(token_ids)} tokens",
            )
    rows = wanted.any(axis=1)
    if not rows.any():
        raise ArgumentError(
            Argument("kind", kind), " finds no token to look at in this prompt: give another"
        )
    _, cache = scope.run_with_cache(token_ids, ["q", "k"])
    found = [
        (cache["pattern", layer][:, rows] * wanted[rows]).sum(axis=-1).mean(axis=-1)
        for layer in range(scope.config.n_layer)
    ]
    return np.asarray(np.stack(found), np.float32)


def repeated(scope: Inside, seed: int = 0) -> list[int]:
    """Return the begin-of-text token and random tokens, twice in the same order."""
    check_int("seed", seed, 0, 2**63)
    config = scope.config
    count = min(_REPEATED, (config.n_positions - 1) // 2)
    drawn = np.random.default_rng(seed).integers(0, config.vocab_size, count).tolist()
    before = [] if config.bos_token_id is None else [config.bos_token_id]
    return [*before, *drawn, *drawn]


def _wanted(kind: str, token_ids: list[int]) -> NDArray[np.float64]:
    """Return 1 where a query should look at a key, [query, key]."""
    ids = np.array(token_ids)
    at = np.arange(len(ids))
    if kind == "previous_token":
        return np.asarray(at[:, None] == at + 1, np.float64)
    if kind == "first_token":
        return np.asarray((at == 0) & (at[:, None] > 0), np.float64)
    same = (ids[:, None] == ids) & (at[:, None] > at)  # an earlier occurrence
    if kind == "duplicate_token":
        return np.asarray(same, np.float64)
    after = np.zeros_like(same)
    after[:, 1:] = same[:, :-1]
    after &= at[:, None] >= at
    return np.asarray(after, np.float64)
