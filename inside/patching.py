"""Activation patching: put values of one prompt into another, and see what the answer does.

All positions or heads of a layer are patched in one batched call.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_callable, check_one_of
from gpt2edge.errors import Argument, ArgumentError
from gpt2edge.inside.cache import ActivationCache
from gpt2edge.inside.hooks import Hook
from gpt2edge.inside.scope import Inside
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.sampling.log_probs import log_softmax

Site: TypeAlias = Literal[
    "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v"
]
SITES: Final = (
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_out",
    "mlp_out",
    "z",
    "q",
    "k",
    "v",
)
IN_HEADS: Final = ("z", "q", "k", "v")
Metric: TypeAlias = "LogitDiff | Callable[[FloatArray], float]"
_CELLS: Final = 1 << 24
"""Numbers of the largest array that one batched call feeds."""


class LogitDiff(NamedTuple):
    """The logit of an answer less that of a wrong one, tokens by text or id."""

    answer: str | int
    wrong: str | int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchResult:
    """The metric after each patch: ``values`` are [layer, pos] or [layer, head].

    ``clean`` and ``corrupted`` are the metric of the two prompts as they are.
    """

    site: str
    over: str
    values: NDArray[np.float64]
    clean: float
    corrupted: float
    tokens: tuple[str, ...]

    @property
    def normalized(self) -> NDArray[np.float64]:
        """Values from 0, no effect, to 1, the clean prompt's metric; NaN where the two agree."""
        gap = self.clean - self.corrupted
        return (
            np.full(self.values.shape, np.nan)
            if not gap
            else ((self.values - self.corrupted) / gap)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "site": self.site,
            "over": self.over,
            "values": self.values.tolist(),
            "normalized": self.normalized.tolist(),
            "clean": self.clean,
            "corrupted": self.corrupted,
            "tokens": list(self.tokens),
        }


def activation_patch(
    scope: Inside,
    clean: Prompt,
    corrupted: Prompt,
    metric: Metric,
    *,
    site: Site = "resid_pre",
    over: Literal["pos", "head"] = "pos",
) -> PatchResult:
    """Run ``corrupted`` with one value of ``clean`` in its place, for every layer and position.

    Or every layer and head, at all positions, where ``over`` is "head". The metric takes the logits
    [vocab_size] after the last token. Raises ValueError for prompts of different lengths.
    """
    check_one_of("site", site, SITES)
    check_one_of("over", over, ("pos", "head") if site in IN_HEADS else ("pos",))
    measure = _measure(scope, metric)
    first, second = scope.encode(clean), scope.encode(corrupted)
    if len(first) != len(second):
        raise ArgumentError(
            Argument("corrupted"),
            f" has {len(second)} tokens and the clean prompt {len(first)}; they must have as many",
        )
    clean_logits, cache = scope.run_with_cache(first, [site])
    count = len(first) if over == "pos" else scope.config.n_head
    values = [
        [measure(logits) for logits in _patched(scope, cache, second, (layer, site, over), count)]
        for layer in range(scope.config.n_layer)
    ]
    return PatchResult(
        site=site,
        over=over,
        values=np.array(values),
        clean=measure(clean_logits[-1]),
        corrupted=measure(scope.run_with_edits(second, {})[0][-1]),
        tokens=tuple(map(scope.token, second)),
    )


def _patched(
    scope: Inside,
    cache: ActivationCache,
    token_ids: list[int],
    where: tuple[int, str, str],
    count: int,
) -> Iterator[FloatArray]:
    """Yield logits [vocab_size] of each patch of a layer: a row a position, or a head."""
    layer, site, over = where
    hook, value = scope.graph_value((site, layer)), cache[site, layer]
    width = value[0].size * (3 if site in ("q", "k", "v") else 1)
    size = max(1, _CELLS // (len(token_ids) * width))
    for start in range(0, count, size):
        rows = range(start, min(start + size, count))
        pairs = [_patch(scope, hook, value, over, at) for at in rows]
        keep, add = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        ids = np.tile(np.array(token_ids, np.int64), (len(rows), 1))
        yield from scope.run_rows(ids, {hook.value: (keep, add)}).logits[:, -1]


def _patch(
    scope: Inside, hook: Hook, value: FloatArray, over: str, at: int
) -> tuple[FloatArray, FloatArray]:
    """Return keep and add [1, pos, n] that put ``value`` at one position, or in one head."""
    keep, add = np.ones(value.shape, np.float32), np.zeros(value.shape, np.float32)
    target: Any = at if over == "pos" else (slice(None), at)
    keep[target], add[target] = 0, value[target]
    return scope.graph_shape(hook, keep, add)


def _measure(scope: Inside, metric: Metric) -> Callable[[FloatArray], float]:
    if isinstance(metric, LogitDiff):
        answer, wrong = scope.token_id(metric.answer), scope.token_id(metric.wrong)
        return lambda logits: float(logits[answer] - logits[wrong])
    check_callable("metric", metric)
    return lambda logits: float(metric(logits))


def get_act_patch_resid_pre(
    scope: Inside, clean: Prompt, corrupted: Prompt, metric: Metric
) -> PatchResult:
    """Patch the residual before each block, at each position: TransformerLens' name."""
    return activation_patch(scope, clean, corrupted, metric, site="resid_pre")


def get_act_patch_attn_out(
    scope: Inside, clean: Prompt, corrupted: Prompt, metric: Metric
) -> PatchResult:
    """Patch the output of each attention, at each position: TransformerLens' name."""
    return activation_patch(scope, clean, corrupted, metric, site="attn_out")


def get_act_patch_mlp_out(
    scope: Inside, clean: Prompt, corrupted: Prompt, metric: Metric
) -> PatchResult:
    """Patch the output of each MLP, at each position: TransformerLens' name."""
    return activation_patch(scope, clean, corrupted, metric, site="mlp_out")


def get_act_patch_attn_head_out_all_pos(
    scope: Inside, clean: Prompt, corrupted: Prompt, metric: Metric
) -> PatchResult:
    """Patch the output of each head, at all positions: TransformerLens' name."""
    return activation_patch(scope, clean, corrupted, metric, site="z", over="head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """How much each token of a prompt mattered for ``target_id`` after it.

    ``nats`` [pos] are lost from the target's log-probability where the token's embedding is
    replaced by the mean one; below 0, the token spoke against the target.
    """

    target_id: int
    target: str
    logprob: float
    tokens: tuple[str, ...]
    nats: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "target_id": self.target_id,
            "target": self.target,
            "logprob": self.logprob,
            "tokens": list(self.tokens),
            "nats": list(self.nats),
        }


def importance(scope: Inside, prompt: Prompt, target: int | str | None = None) -> Importance:
    """Replace each token's embedding by the mean one, all in batched calls: occlusion.

    ``target`` is by default the likeliest token. Raises InsideError for a classifier.
    """
    scope.require_language_model()
    token_ids = scope.encode(prompt)
    tokens, width = len(token_ids), scope.config.n_embd
    embeddings = scope.tensors.read("wte.weight")
    mean = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    plain = log_softmax(scope.run_with_edits(token_ids, {})[0][-1])
    target_id = int(plain.argmax()) if target is None else scope.token_id(target)
    hook = scope.graph_value("hook_embed")
    lost: list[float] = []
    size = max(1, _CELLS // (tokens * width))
    for start in range(0, tokens, size):
        rows = np.arange(start, min(start + size, tokens))
        keep = np.ones((len(rows), tokens, 1), np.float32)
        add = np.zeros((len(rows), tokens, width), np.float32)
        keep[np.arange(len(rows)), rows], add[np.arange(len(rows)), rows] = 0, mean
        ids = np.tile(np.array(token_ids, np.int64), (len(rows), 1))
        logits = scope.run_rows(ids, {hook.value: (keep, add)}).logits[:, -1]
        lost += [float(plain[target_id] - row[target_id]) for row in log_softmax(logits)]
    return Importance(
        target_id=target_id,
        target=scope.token(target_id),
        logprob=float(plain[target_id]),
        tokens=tuple(map(scope.token, token_ids)),
        nats=tuple(lost),
    )
