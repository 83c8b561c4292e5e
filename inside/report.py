"""Report: everything that ``gpt2edge look`` tells about one prompt, as plain values.

A report holds no arrays, so that a command or a page can print it without numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpt2edge._checks import check_int
from gpt2edge.inside.attribution import Attribution, attribute, needed_names
from gpt2edge.inside.cache import ActivationCache
from gpt2edge.inside.heads import HEAD_KINDS, head_scores
from gpt2edge.inside.hooks import Name
from gpt2edge.inside.lens import Lens, LensResult, logit_lens
from gpt2edge.inside.patching import Importance, importance
from gpt2edge.inside.pictures import attention, layer_label, lens
from gpt2edge.inside.scope import Inside
from gpt2edge.runtime.decoding.request import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The tokens that a layer holds for likeliest after a position, and their probabilities."""

    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    probs: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is inside the model at a prompt.

    ``layers`` are "embed", "0", ..., "last", and ``cells`` [layer][token] what each predicts after
    each token. ``kl`` [layer] is the mean divergence in nats of the last layer's distribution from
    the layer's. ``target_ranks`` [layer] of ``target`` after the last token count from 0.
    """

    tokens: tuple[str, ...]
    token_ids: tuple[int, ...]
    layers: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    kl: tuple[float, ...]
    entropy: tuple[float, ...]
    tied: bool
    target: str | None = None
    target_ranks: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        found: dict[str, Any] = {
            "tokens": list(self.tokens),
            "token_ids": list(self.token_ids),
            "layers": [
                {
                    "label": label,
                    "kl_to_final": self.kl[at],
                    "entropy": self.entropy[at],
                    "predictions": [
                        [
                            {"token": token, "token_id": number, "prob": prob}
                            for token, number, prob in zip(
                                cell.tokens, cell.token_ids, cell.probs, strict=True
                            )
                        ]
                        for cell in self.cells[at]
                    ],
                }
                for at, label in enumerate(self.layers)
            ],
        }
        if self.target is not None:
            found |= {"target": self.target, "target_ranks": list(self.target_ranks)}
        return found


class Look:
    """One prompt, run once; each method tells one thing about it."""

    def __init__(self, scope: Inside, prompt: Prompt, *, prepend_bos: bool = False) -> None:
        scope.require_language_model()
        self.scope = scope
        self.token_ids = scope.encode(prompt, prepend_bos=prepend_bos)
        names: list[Name] = ["resid_pre", "q", "k", *needed_names()]
        self.logits, self.cache = scope.run_with_cache(self.token_ids, names)

    def __repr__(self) -> str:
        return f"Look({len(self.token_ids)} tokens, {self.scope!r})"

    def lens(self, *, top: int = 5, affine: Lens | None = None) -> LensResult:
        """Return the lens of every token."""
        return logit_lens((self.scope, self.cache), top_k=top, lens=affine, return_type="log_probs")

    def report(
        self, *, top: int = 5, target: str | None = None, affine: Lens | None = None
    ) -> Report:
        """Return the lens of every token, and the ranks of ``target`` after the last."""
        result = self.lens(top=top, affine=affine)
        ranks: Sequence[int] = ()
        if target is not None:
            wanted = self.scope.token_id(target)
            both = (self.scope, self.cache)
            ranked = logit_lens(both, targets=[wanted], lens=affine)
            ranks = ranked.rank_trajectory(wanted)
        tensors = self.scope.tensors
        return Report(
            tokens=self.cache.tokens,
            token_ids=tuple(self.token_ids),
            layers=tuple(map(layer_label, result.labels)),
            cells=tuple(self._cells(result, row) for row in range(len(result.labels))),
            kl=tuple(float(value) for value in result.kl_to_final()),
            entropy=tuple(float(value) for value in result.entropy.mean(axis=1)),
            tied="lm_head.weight" not in tensors,
            target=target,
            target_ranks=tuple(ranks),
        )

    def attended(self, layer: int, head: int, top: int = 3) -> list[list[tuple[str, float]]]:
        """Return the tokens that a head looks at most from each token, and their shares."""
        check_int("layer", layer, 0, self.scope.config.n_layer - 1)
        check_int("head", head, 0, self.scope.config.n_head - 1)
        pattern = self.cache["pattern", layer][head]
        order = np.argsort(-pattern, axis=1, kind="stable")[:, :top]
        return [
            [(self.cache.tokens[at], float(row[at])) for at in ids if row[at] > 0]
            for row, ids in zip(pattern, order, strict=True)
        ]

    def heads(self) -> dict[str, list[list[float]]]:
        """Return the scores of every head by kind, [layer][head]; independent of the prompt."""
        return {
            kind: np.asarray(head_scores(self.scope, kind), np.float64).tolist()
            for kind in HEAD_KINDS
        }

    def attribution(self, target: str | None = None, unit: Any = "head") -> Attribution:
        """Return what wrote the logit of ``target``, or of the likeliest token, after the last."""
        last = self.logits[-1:]
        token = int(last.argmax()) if target is None else self.scope.token_id(target)
        cut = self.at(len(self.token_ids) - 1)
        return attribute(self.scope, cut, last, (token, None), unit)

    def at(self, position: int) -> ActivationCache:
        """Return the values at one position alone."""
        return self.cache.at(position)

    def importance(self, target: str | None = None) -> Importance:
        """Return how much each token mattered for ``target``, or for the likeliest token."""
        return importance(self.scope, self.token_ids, target)

    def picture(self, head: tuple[int, int] | None = None, affine: Lens | None = None) -> str:
        """Return an SVG: of the lens, or of the attention of one head."""
        if head is not None:
            return attention(self.cache, *head)
        return lens(self.scope, self.lens(top=1, affine=affine))

    def _cells(self, result: LensResult, row: int) -> tuple[Cell, ...]:
        return tuple(
            Cell(
                tokens=tuple(self.scope.token(int(each)) for each in ids),
                token_ids=tuple(int(each) for each in ids),
                probs=tuple(float(np.exp(value)) for value in values),
            )
            for ids, values in zip(result.top_ids[row], result.values[row], strict=True)
        )
