"""The logit lens: what the model would predict if a layer were the last one.

Each layer's residual goes through the model's own last norm and output projection (nostalgebraist
2020). The statistics are those of tuned-lens' ``PredictionTrajectory``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int, check_one_of
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.inside.cache import ActivationCache
from gpt2edge.inside.edits import Positions
from gpt2edge.inside.scope import Inside
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.sampling.log_probs import log_softmax_float32

ReturnType: TypeAlias = Literal["log_probs", "probs", "logits"]
_RETURN_TYPES: Final = ("log_probs", "probs", "logits")


class Lens(Protocol):
    """Turns residuals before a layer into an estimate of the last one, such as ``AffineLens``."""

    def transform(self, resid: FloatArray, layer: int) -> FloatArray:
        """Return [..., d_model] of residuals [..., d_model] before block ``layer``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LensResult:
    """What each layer predicts after some tokens.

    ``labels`` [stack] are "0_pre" to "final_post"; ``positions`` [pos] number the tokens.
    ``values`` are [stack, pos, k], of the ``top_ids`` [stack, pos, k]; of ``targets``, [stack, pos,
    targets]; or of the whole vocabulary. ``target_ranks`` [stack, pos, targets] count from 0.
    ``entropy`` and ``kl`` [stack, pos], the divergence of the last layer's distribution from the
    layer's, are in nats.
    """

    labels: tuple[str, ...]
    positions: tuple[int, ...]
    token_ids: tuple[int, ...]
    values: FloatArray
    top_ids: NDArray[np.int64]
    targets: tuple[int, ...]
    target_ranks: NDArray[np.int64]
    entropy: NDArray[np.float64]
    kl: NDArray[np.float64]
    losses: NDArray[np.float64]

    def rank_trajectory(self, target: int, position: int = -1) -> list[int]:
        """Return the rank, from 0, of a target token in each layer.

        Raises ValueError for a token that was not among the targets.
        """
        if target not in self.targets:
            raise ArgumentError(
                Argument("target"), f" is {target}, which was not given among the targets"
            )
        at = self.targets.index(target)
        return [int(rank) for rank in self.target_ranks[:, position, at]]

    def kl_to_final(self) -> NDArray[np.float64]:
        """Return each layer's mean divergence to the last one, KL(final || layer), [stack]."""
        return np.asarray(self.kl.mean(axis=1))

    def cross_entropy(self) -> NDArray[np.float64]:
        """Return each layer's mean loss in nats on the tokens that follow, [stack].

        NaN where no token follows any of the positions.
        """
        known = ~np.isnan(self.losses)
        counts = known.sum(axis=1)
        sums = np.where(known, self.losses, 0).sum(axis=1)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON."""
        return {
            "labels": list(self.labels),
            "positions": list(self.positions),
            "top_ids": self.top_ids.tolist(),
            "values": self.values.tolist(),
            "targets": list(self.targets),
            "target_ranks": self.target_ranks.tolist(),
            "entropy": self.entropy.tolist(),
            "kl_to_final": self.kl.tolist(),
        }


class _Plan(NamedTuple):
    """What is kept of each distribution."""

    targets: NDArray[np.int64]
    top_k: int | None
    return_type: ReturnType


def logit_lens(
    source: Inside | tuple[Inside, ActivationCache],
    prompt: Prompt | None = None,
    *,
    layers: Sequence[int] | None = None,
    incl_mid: bool = False,
    positions: Positions = None,
    targets: Sequence[int | str] | None = None,
    top_k: int | None = None,
    lens: Lens | None = None,
    return_type: ReturnType = "log_probs",
) -> LensResult:
    """Read the residual before every block, and after the last, as a prediction.

    ``source`` is a scope with a ``prompt``, or a scope and a cache of it. ``layers`` chooses
    blocks, and ``n_layer`` is the end. ``values`` are of the ``targets`` where they are given, of
    the ``top_k`` likeliest, or of the whole vocabulary. ``lens`` translates residuals first.
    Raises InsideError for a classifier, ValueError for a wrong value.
    """
    check_one_of("return_type", return_type, _RETURN_TYPES)
    scope, cache = _source(source, prompt, incl_mid, positions)
    if top_k is not None:
        check_int("top_k", top_k, 1, scope.config.vocab_size)
    stack, labels = cache.accumulated_resid(incl_mid=incl_mid, return_labels=True)
    if layers is not None:
        wanted = {check_int("layers", at, 0, scope.config.n_layer) for at in layers}
        kept = [at for at, label in enumerate(labels) if _layer(label, scope) in wanted]
        stack, labels = stack[kept], [labels[at] for at in kept]
    if lens is not None:
        stack = np.stack(
            [
                resid if label == "final_post" else lens.transform(resid, _layer(label, scope))
                for label, resid in zip(labels, stack, strict=True)
            ]
        )
    ids = [scope.token_id(token) for token in targets or ()]
    plan = _Plan(np.array(ids, np.int64), top_k, return_type)
    return _read(scope, cache, stack, labels, plan)


def logit_readout(
    scope: Inside, vectors: FloatArray, *, top_k: int = 10
) -> list[list[tuple[str, float]]]:
    """Return the likeliest tokens and their log-probabilities of residual vectors [n, d_model]."""
    check_int("top_k", top_k, 1, scope.config.vocab_size)
    logprobs = log_softmax_float32(scope.readout(np.atleast_2d(vectors)), np.float64)
    best = _best(logprobs, top_k)
    return [
        [(scope.token(int(token)), float(row[token])) for token in ids]
        for row, ids in zip(logprobs, best, strict=True)
    ]


def _source(
    source: Inside | tuple[Inside, ActivationCache],
    prompt: Prompt | None,
    incl_mid: bool,
    positions: Positions,
) -> tuple[Inside, ActivationCache]:
    if isinstance(source, tuple):
        return source
    if prompt is None:
        raise ArgumentError(Argument("prompt"), " is needed where no cache is given")
    names: list[str | tuple[str, int]] = ["resid_pre", ("resid_post", -1)]
    names += ["resid_mid"] * incl_mid
    source.require_language_model()
    return source, source.run_with_cache(prompt, names, positions=positions)[1]


def _layer(label: str, scope: Inside) -> int:
    return scope.config.n_layer if label == "final_post" else int(label.split("_")[0])


def _read(
    scope: Inside,
    cache: ActivationCache,
    stack: FloatArray,
    labels: Sequence[str],
    plan: _Plan,
) -> LensResult:
    """Read out [stack, pos, d_model], some positions of all layers at a time."""
    at = cache.positions
    following = [cache.token_ids[p + 1] if p + 1 < len(cache.token_ids) else -1 for p in at]
    final = cache["resid_post", -1]
    pieces = []
    for start, end in scope.chunks(len(at)):
        logprobs = log_softmax_float32(scope.readout(final[start:end]), np.float64)
        next_ids = np.array(following[start:end], np.int64)
        rows = [
            _statistics(scope.readout(resid[start:end]), logprobs, next_ids, plan)
            for resid in stack
        ]
        pieces.append([np.stack(parts) for parts in zip(*rows, strict=True)])
    values, top_ids, ranks, entropy, kl, losses = (
        np.concatenate(parts, axis=1) for parts in zip(*pieces, strict=True)
    )
    return LensResult(
        labels=tuple(labels),
        positions=tuple(int(p) for p in at),
        token_ids=cache.token_ids,
        values=values,
        top_ids=top_ids,
        targets=tuple(int(target) for target in plan.targets),
        target_ranks=ranks,
        entropy=entropy,
        kl=kl,
        losses=losses,
    )


def _statistics(
    logits: FloatArray, final: FloatArray, following: NDArray[np.int64], plan: _Plan
) -> tuple[NDArray[Any], ...]:
    """Return what is kept of a layer's logits [pos, vocab] beside the last layer's."""
    logprobs = log_softmax_float32(logits, np.float64)
    whole = logits if plan.return_type == "logits" else logprobs
    whole = np.exp(logprobs) if plan.return_type == "probs" else whole
    top_ids = _best(logits, plan.top_k or 1)
    chosen = np.take_along_axis(logits, np.tile(plan.targets, (len(logits), 1)), axis=1)
    ranks = (logits[:, None] > chosen[..., None]).sum(axis=-1)  # [pos, targets]
    if len(plan.targets):
        values = whole[:, plan.targets]
    else:
        values = whole if plan.top_k is None else np.take_along_axis(whole, top_ids, axis=1)
    entropy = -(np.exp(logprobs) * logprobs).sum(axis=-1, dtype=np.float64)
    kl = (np.exp(final) * (final - logprobs)).sum(axis=-1, dtype=np.float64)
    losses = -logprobs[np.arange(len(logits)), following].astype(np.float64)
    losses[following < 0] = np.nan
    return values, top_ids, ranks, entropy, kl, losses


def _best(logits: FloatArray, count: int) -> NDArray[np.int64]:
    """Return the ids of the ``count`` largest of each row, the largest first, [rows, count]."""
    if count < logits.shape[-1]:
        found = np.argpartition(logits, -count, axis=-1)[:, -count:]
    else:
        found = np.tile(np.arange(logits.shape[-1]), (len(logits), 1))
    order = np.argsort(-np.take_along_axis(logits, found, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(found, order, axis=-1)
