"""Direct logit attribution: which part of the model wrote a token's logit.

The logit is linear in what each component added to the residual, once the scale of the last norm is
taken as it was in the pass (Elhage et al. 2021):

    logit(t) = sum over c of (c - mean(c)) / scale * gain . W_U[t]  +  bias . W_U[t] + b_U[t]
"""

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int, check_one_of
from gpt2edge.graph import names
from gpt2edge.inside.cache import ActivationCache
from gpt2edge.inside.hooks import Name
from gpt2edge.inside.scope import Inside
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.request import Prompt

Unit: TypeAlias = Literal["component", "layer", "head", "neuron"]
UNITS: Final = ("component", "layer", "head", "neuron")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribution:
    """What each part of the model added to the logit of ``token_id`` after ``position``.

    With ``incorrect_id``, to the difference of the two logits. ``attribution.sum() + bias`` is the
    ``logit``, up to rounding. Labels are "embed", "0_attn_out", "L0H3", "L2N300".
    """

    token_id: int
    incorrect_id: int | None
    position: int
    labels: tuple[str, ...]
    attribution: FloatArray
    bias: float
    logit: float

    def top(self, count: int = 10) -> list[tuple[str, float]]:
        """Return the parts that added or took away most, in order of size."""
        check_int("count", count, 1, 2**31)
        order = np.argsort(-np.abs(self.attribution), kind="stable")[:count]
        return [(self.labels[at], float(self.attribution[at])) for at in order]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "token_id": self.token_id,
            "incorrect_id": self.incorrect_id,
            "position": self.position,
            "labels": list(self.labels),
            "attribution": self.attribution.tolist(),
            "bias": self.bias,
            "logit": self.logit,
        }


def direct_logit_attribution(
    scope: Inside,
    prompt: Prompt,
    answer: int | str | None = None,
    incorrect: int | str | None = None,
    *,
    unit: Unit = "component",
    position: int = -1,
) -> Attribution:
    """Attribute the logit of ``answer``, by default the likeliest token, after ``position``.

    ``unit`` "component" is both embeddings and each attention and MLP; "layer" joins the two of a
    block; "head" splits attention into heads and its bias; "neuron" splits MLPs, too. Raises
    InsideError for a classifier, ValueError for a wrong value.
    """
    check_one_of("unit", unit, UNITS)
    scope.require_language_model()
    logits, cache = scope.run_with_cache(prompt, needed_names(), positions=position)
    token_id = int(logits.reshape(-1).argmax()) if answer is None else scope.token_id(answer)
    incorrect_id = None if incorrect is None else scope.token_id(incorrect)
    return attribute(scope, cache, logits.reshape(1, -1), (token_id, incorrect_id), unit)


def needed_names() -> list[Name]:
    """Return the values that an attribution reads."""
    return ["embed", "pos_embed", "z", "attn_out", "post", "mlp_out", ("resid_post", -1)]


def attribute(
    scope: Inside,
    cache: ActivationCache,
    logits: FloatArray,
    tokens: tuple[int, int | None],
    unit: Unit,
) -> Attribution:
    """Attribute at the one position that ``cache`` holds, whose ``logits`` are [1, vocab_size]."""
    direction, bias, logit = _target(scope, logits[0], tokens)
    scale = float(cache["ln_final.hook_scale"][0, 0])
    labels, values = _parts(cache, direction / scale, unit)
    return Attribution(
        token_id=tokens[0],
        incorrect_id=tokens[1],
        position=int(cache.positions[0]),
        labels=tuple(labels),
        attribution=np.asarray(values, np.float32),
        bias=bias,
        logit=logit,
    )


def _target(
    scope: Inside, logits: FloatArray, tokens: tuple[int, int | None]
) -> tuple[FloatArray, float, float]:
    """Return the residual's direction [d_model] to the logit, its bias and the logit."""
    ids = np.array([each for each in tokens if each is not None])
    signs = np.array([1, -1], np.float32)[: len(ids)]
    row = signs @ scope.tensors.unembedding(ids)  # [d_model]
    bias = float(scope.tensors.read(names.bias(names.LN_F)) @ row)
    bias += float(signs @ scope.tensors.head_bias()[ids])
    direction = row * scope.tensors.read(names.weight(names.LN_F))
    direction = direction - direction.mean()  # the same as centring what it is multiplied by
    return direction, bias, float(signs @ logits[ids])


def _parts(
    cache: ActivationCache, direction: FloatArray, unit: Unit
) -> tuple[list[str], NDArray[np.float32]]:
    """Return labels and contributions of the parts, in the order of the model."""
    labels, values = ["embed", "pos_embed"], []
    values += [cache["embed"][0] @ direction, cache["pos_embed"][0] @ direction]
    for layer in range(cache.config.n_layer):
        attention = float(cache["attn_out", layer][0] @ direction)
        mlp = float(cache["mlp_out", layer][0] @ direction)
        if unit == "layer":
            labels.append(f"{layer}_layer")
            values.append(attention + mlp)
            continue
        if unit == "component":
            labels += [f"{layer}_attn_out", f"{layer}_mlp_out"]
            values += [attention, mlp]
            continue
        heads = cache["result", layer][0] @ direction  # [head]
        labels += [f"L{layer}H{head}" for head in range(len(heads))] + [f"{layer}_attn_bias"]
        values += [*heads, attention - heads.sum()]
        if unit == "head":
            labels.append(f"{layer}_mlp_out")
            values.append(mlp)
            continue
        weight = cache.tensors.read(names.weight(f"h.{layer}.{names.MLP_C_PROJ}"))
        neurons = cache["post", layer][0] * (weight @ direction)  # [d_mlp]
        labels += [f"L{layer}N{n}" for n in range(len(neurons))] + [f"{layer}_mlp_bias"]
        values += [*neurons, mlp - neurons.sum()]
    return labels, np.array(values, np.float32)
