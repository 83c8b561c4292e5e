"""ActivationCache: values from inside one forward pass, by TransformerLens' names and shapes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import argument_error, check_one_of
from gpt2edge.config import ModelConfig
from gpt2edge.errors import InsideError
from gpt2edge.graph import names
from gpt2edge.inside.edits import Positions
from gpt2edge.inside.hooks import Name, full_name, needs
from gpt2edge.inside.shapes import positions_of
from gpt2edge.inside.tensors import Tensors
from gpt2edge.runtime.arrays import FloatArray

Labels = list[str]


@dataclass(frozen=True, slots=True)
class Source:
    """What a cache is of: the model's shape and weights, and the prompt's tokens."""

    config: ModelConfig
    tensors: Tensors | None
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]


class ActivationCache(Mapping[Name, FloatArray]):
    """Values inside a pass, by name: ``cache["blocks.0.hook_resid_pre"]``, ``cache["pattern", 3]``.

    Shapes are TransformerLens' without the batch, see ``gpt2edge.inside.hooks``. Queries, keys and
    the like are stored; scores, patterns, head results and norms are computed on access. All are
    float32 and not to be written to. ``positions`` are the tokens that were kept; a pattern has a
    row for each of them and a column for every token.
    """

    def __init__(
        self,
        stored: Mapping[str, FloatArray],
        kept_names: Sequence[str],
        source: Source,
        positions: Positions = None,
    ) -> None:
        self._source = source
        self._names = tuple(kept_names)
        self.positions: NDArray[np.int64] = positions_of(positions, len(source.token_ids))
        """The numbers of the tokens that are kept."""
        whole = positions is None
        self._stored = {
            name: array if whole or name.endswith("hook_k") else array[self.positions]
            for name, array in stored.items()
        }

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The ids of all tokens of the prompt."""
        return self._source.token_ids

    @property
    def tokens(self) -> tuple[str, ...]:
        """The texts of all tokens of the prompt."""
        return self._source.tokens

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self._source.config

    @property
    def nbytes(self) -> int:
        """Bytes of the stored values."""
        return sum(array.nbytes for array in self._stored.values())

    def at(self, positions: Positions) -> "ActivationCache":
        """Return the values at some of the prompt's tokens alone; all must be kept here."""
        wanted = positions_of(positions, len(self.token_ids))
        rows = {int(at): row for row, at in enumerate(self.positions)}
        missing = [int(at) for at in wanted if int(at) not in rows]
        if missing:
            raise argument_error("positions", missing[0], "among the tokens that were kept")
        found = ActivationCache({}, self._names, self._source, wanted.tolist())
        taken = [rows[int(at)] for at in wanted]
        found._stored = {
            name: array if name.endswith("hook_k") else array[taken]
            for name, array in self._stored.items()
        }
        return found

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        try:
            full = full_name(name, self.config.n_layer)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        return all(self._home(each) in self._stored for each in needs(full))

    def __repr__(self) -> str:
        return f"ActivationCache({len(self._names)} values of {len(self.positions)} tokens)"

    def __getitem__(self, name: Name) -> FloatArray:
        """Return a value. Raises KeyError where it was not kept, ValueError for an unknown name."""
        full = full_name(name, self.config.n_layer)
        if full not in self:
            raise KeyError(f"{full!r} was not kept: give its name to names_filter")
        last = full.rpartition("hook_")[2]
        if last in ("attn_scores", "pattern"):
            scores = self._scores(full)
            return _softmax(scores) if last == "pattern" else scores
        if last == "result":
            return self._results(int(full.split(".")[1]))
        if last in ("scale", "normalized"):
            return self._norm(full, last)
        array = self._stored[self._home(full)]
        return array[self.positions] if last == "k" else array

    def _home(self, name: str) -> str:
        """Return the stored name of a value: the last residual is what the final norm reads."""
        return f"blocks.{self.config.n_layer - 1}.hook_resid_post" if name == "ln_final" else name

    def _scores(self, name: str) -> FloatArray:
        """Return scores [head, query, key], minus infinity where the key comes after the query."""
        prefix, layer = name.rpartition("hook_")[0], int(name.split(".")[1])
        q, k = self._stored[f"{prefix}hook_q"], self._stored[f"{prefix}hook_k"]
        scale = np.float32(self.config.attention_scale(layer))
        scores = np.matmul(q.transpose(1, 0, 2), k.transpose(1, 2, 0)) * scale
        scores[:, np.arange(k.shape[0]) > self.positions[:, None]] = -np.inf
        return np.asarray(scores, np.float32)

    def _results(self, layer: int) -> FloatArray:
        """Return what each head adds to the residual, [pos, head, d_model], without the bias."""
        z = self._stored[f"blocks.{layer}.attn.hook_z"]
        outputs = self.tensors.head_outputs(layer)  # [head, d_head, d_model]
        found = np.matmul(z.transpose(1, 0, 2), outputs)  # [head, pos, d_model]
        return np.asarray(found.transpose(1, 0, 2), np.float32)

    def _norm(self, name: str, last: str) -> FloatArray:
        """Return a LayerNorm's deviation [pos, 1], or its input centred and divided by it."""
        x = self._stored[self._home(needs(name)[0])]
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config.layer_norm_epsilon)
        return np.asarray(scale if last == "scale" else centred / scale, np.float32)

    @property
    def tensors(self) -> Tensors:
        """The model's weights. Raises InsideError for a cache that was loaded from a file."""
        if self._source.tensors is None:
            raise InsideError("this needs the model's weights, and the cache is from a file alone")
        return self._source.tensors

    @overload
    def accumulated_resid(
        self, layer: int | None = None, *, incl_mid: bool = False, apply_ln: bool = False
    ) -> FloatArray: ...

    @overload
    def accumulated_resid(
        self,
        layer: int | None = None,
        *,
        incl_mid: bool = False,
        apply_ln: bool = False,
        return_labels: Literal[True],
    ) -> tuple[FloatArray, Labels]: ...

    def accumulated_resid(
        self,
        layer: int | None = None,
        *,
        incl_mid: bool = False,
        apply_ln: bool = False,
        return_labels: bool = False,
    ) -> FloatArray | tuple[FloatArray, Labels]:
        """Return the residual before each block up to ``layer``, and after the last, [n, pos, d].

        ``layer`` None is all of them, to "final_post". ``incl_mid`` adds those between attention
        and MLP. ``apply_ln`` scales them as the norm before ``layer``, or the last norm, would.
        Labels are "0_pre", "0_mid", ..., "final_post".
        """
        n_layer = self.config.n_layer
        end = n_layer if layer is None else layer % n_layer if layer < n_layer else n_layer
        found: list[tuple[str, FloatArray]] = []
        for at in range(end + 1):
            if at == n_layer:
                found.append(("final_post", self["resid_post", n_layer - 1]))
                continue
            found.append((f"{at}_pre", self["resid_pre", at]))
            if incl_mid and at < end:
                found.append((f"{at}_mid", self["resid_mid", at]))
        return self._stacked(found, None if end == n_layer else end, apply_ln, return_labels)

    @overload
    def decompose_resid(
        self, layer: int | None = None, *, mode: str = "all", apply_ln: bool = False
    ) -> FloatArray: ...

    @overload
    def decompose_resid(
        self,
        layer: int | None = None,
        *,
        mode: str = "all",
        apply_ln: bool = False,
        return_labels: Literal[True],
    ) -> tuple[FloatArray, Labels]: ...

    def decompose_resid(
        self,
        layer: int | None = None,
        *,
        mode: str = "all",
        apply_ln: bool = False,
        return_labels: bool = False,
    ) -> FloatArray | tuple[FloatArray, Labels]:
        """Return what was added to the residual before ``layer``, [component, pos, d_model].

        Embeddings, and the output of each attention and MLP; ``mode`` "attn" or "mlp" is those of
        one kind. With "all" the sum is the residual. Labels are "embed", "pos_embed", "0_attn_out".
        """
        check_one_of("mode", mode, ("all", "attn", "mlp"))
        n_layer = self.config.n_layer
        end = n_layer if layer is None else layer % n_layer if layer < n_layer else n_layer
        found = [("embed", self["embed"]), ("pos_embed", self["pos_embed"])]
        for at in range(end):
            if mode != "mlp":
                found.append((f"{at}_attn_out", self["attn_out", at]))
            if mode != "attn":
                found.append((f"{at}_mlp_out", self["mlp_out", at]))
        return self._stacked(found, None if end == n_layer else end, apply_ln, return_labels)

    @overload
    def stack_head_results(
        self, layer: int | None = None, *, incl_remainder: bool = False, apply_ln: bool = False
    ) -> FloatArray: ...

    @overload
    def stack_head_results(
        self,
        layer: int | None = None,
        *,
        incl_remainder: bool = False,
        apply_ln: bool = False,
        return_labels: Literal[True],
    ) -> tuple[FloatArray, Labels]: ...

    def stack_head_results(
        self,
        layer: int | None = None,
        *,
        incl_remainder: bool = False,
        apply_ln: bool = False,
        return_labels: bool = False,
    ) -> FloatArray | tuple[FloatArray, Labels]:
        """Return what each head before ``layer`` adds to the residual, [head, pos, d_model].

        ``incl_remainder`` adds the rest of the residual as the last. Labels are "L0H3".
        """
        n_layer, n_head = self.config.n_layer, self.config.n_head
        end = n_layer if layer is None else layer % n_layer if layer < n_layer else n_layer
        found: list[tuple[str, FloatArray]] = []
        for at in range(end):
            results = self["result", at]  # [pos, head, d_model]
            found += [(f"L{at}H{head}", results[:, head]) for head in range(n_head)]
        if incl_remainder:
            whole = self["resid_post", end - 1] if end else self["resid_pre", 0]
            heads = np.sum([array for _, array in found], axis=0) if found else 0
            found.append(("remainder", np.asarray(whole - heads, np.float32)))
        return self._stacked(found, None if end == n_layer else end, apply_ln, return_labels)

    def _stacked(
        self,
        found: Sequence[tuple[str, FloatArray]],
        layer: int | None,
        apply_ln: bool,
        return_labels: bool,
    ) -> FloatArray | tuple[FloatArray, Labels]:
        shape = (len(self.positions), self.config.n_embd)
        stack = np.stack([array for _, array in found]) if found else np.zeros((0, *shape))
        stack = np.asarray(stack, np.float32)
        stack = self.apply_ln_to_stack(stack, layer) if apply_ln else stack
        return (stack, [label for label, _ in found]) if return_labels else stack

    def neuron_results(
        self, layer: int, neurons: Sequence[int] | slice = slice(None)
    ) -> FloatArray:
        """Return what neurons of a layer add to the residual, [pos, neuron, d_model]."""
        post = self["post", layer][:, neurons]  # [pos, neuron]
        weight = self.tensors.read(
            names.weight(f"h.{layer % self.config.n_layer}.{names.MLP_C_PROJ}")
        )
        return np.asarray(post[..., None] * weight[neurons], np.float32)

    def apply_ln_to_stack(self, stack: FloatArray, layer: int | None = None) -> FloatArray:
        """Centre [..., pos, d_model] and divide by the cached scale of a norm, without its gain.

        That before block ``layer``, or for None the last one.
        """
        scale = self["ln_final.hook_scale"] if layer is None else self["scale1", layer]
        centred = stack - stack.mean(axis=-1, keepdims=True)
        return np.asarray(centred / scale, np.float32)

    def logit_attrs(
        self,
        stack: FloatArray,
        tokens: "int | Sequence[int] | NDArray[np.int64]",
        incorrect_tokens: "int | Sequence[int] | NDArray[np.int64] | None" = None,
    ) -> FloatArray:
        """Return what each of ``stack`` adds to the logit of ``tokens``, [..., pos].

        ``stack`` is [..., pos, d_model]; one token, or one a position. With ``incorrect_tokens``
        to the difference of the logits. Over all of ``decompose_resid`` the sum is the logit
        without its bias.
        """
        direction = self._direction(tokens)
        if incorrect_tokens is not None:
            direction = direction - self._direction(incorrect_tokens)
        scaled = self.apply_ln_to_stack(stack)
        return np.asarray((scaled * direction).sum(axis=-1), np.float32)

    def _direction(self, tokens: Any) -> FloatArray:
        """Return gain times output projection of tokens, [pos or 1, d_model]."""
        rows = self.tensors.unembedding(np.atleast_1d(np.asarray(tokens, np.int64)))
        return rows * self.tensors.read(names.weight(names.LN_F))


def _softmax(scores: FloatArray) -> FloatArray:
    """Softmax over the last axis, in place."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores
