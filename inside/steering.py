"""Steering: add a vector to the residual at every token, and generate at full speed.

A vector that is added to the residual after a block is the same as one added to the bias of the
block's last product. So the bias is replaced, and graph, kernels and decoder stay as they are.
A vector is mostly the mean difference of a value between two sets of texts (Turner et al. 2023,
Rimsky et al. 2024).
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpt2edge._checks import check_float, check_list, check_path
from gpt2edge.errors import Argument, ArgumentError, FileFormatError, InsideError
from gpt2edge.graph import names
from gpt2edge.inside.hooks import Name, full_name
from gpt2edge.inside.scope import Inside
from gpt2edge.inside.sessions import Sessions
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions

_FORMAT: Final = "gpt2edge steering 1"
_BIASES: Final = {
    "hook_attn_out": names.ATTN_C_PROJ,
    "hook_resid_mid": names.ATTN_C_PROJ,
    "hook_mlp_out": names.MLP_C_PROJ,
    "hook_resid_post": names.MLP_C_PROJ,
}
"""The product whose bias a vector is added to."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SteeringVector:
    """A vector [d_model] and the name of the value that it is added to."""

    name: str
    vector: FloatArray

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to an ``.npz`` file of numpy, for ``generate --steer``."""
        check_path("path", path)
        about = json.dumps({"format": _FORMAT, "name": self.name})
        with Path(path).open("wb") as file:
            np.savez(file, about=np.array(about), vector=self.vector)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SteeringVector":
        """Read a file that ``save`` wrote. Raises FileFormatError for another one."""
        check_path("path", path)
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["format"] != _FORMAT:
                    raise ValueError(f"its format is {about['format']!r}")
                return cls(name=about["name"], vector=np.asarray(file["vector"], np.float32))
        except OSError:
            raise
        except Exception as error:  # numpy and zipfile raise whatever a damaged file leads to
            raise FileFormatError(f"{path} is no steering vector: {error}") from None


def steering_vector(
    scope: Inside, positive: Sequence[Prompt], negative: Sequence[Prompt], name: Name
) -> SteeringVector:
    """Return the mean difference of a residual value between two sets of prompts.

    Each prompt counts as much as another, whatever its length; a begin-of-text token is left out.
    ``name`` is a value after a block, such as ("resid_post", 2). Raises ValueError for others.
    """
    full = full_name(name, scope.config.n_layer)
    _bias_of(full)
    means = []
    for argument, prompts in (("positive", positive), ("negative", negative)):
        given = check_list(argument, prompts, "a list of prompts")
        if not given:
            raise ArgumentError(Argument(argument), " is empty; give one prompt or more")
        means.append(np.mean([_mean(scope, prompt, full) for prompt in given], axis=0))
    return SteeringVector(name=full, vector=np.asarray(means[0] - means[1], np.float32))


def _mean(scope: Inside, prompt: Prompt, name: str) -> FloatArray:
    prepend = scope.config.bos_token_id is not None
    _, cache = scope.run_with_cache(prompt, [name], prepend_bos=prepend)
    return np.asarray(cache[name][int(prepend) :].mean(axis=0), np.float32)


def steered(
    engine: Engine,
    vectors: "SteeringVector | Mapping[str, FloatArray]",
    scale: float = 1.0,
) -> Engine:
    """Return a new engine that adds ``scale`` times each vector at every token.

    ``vectors`` is one, or several [d_model] by the name of their value. The new engine has
    its own session, and must be closed. Raises ValueError for a value that cannot be steered.
    """
    options = steering_options(engine.model, engine.options, vectors, scale)
    return Engine(engine.model.path, options)


def steering_options(
    model: ModelDir,
    options: RuntimeOptions,
    vectors: "SteeringVector | Mapping[str, FloatArray]",
    scale: float = 1.0,
) -> RuntimeOptions:
    """Return ``options`` with which an engine over ``model`` is steered."""
    check_float("scale", scale, -1e6, 1e6)
    if isinstance(vectors, SteeringVector):
        vectors = {vectors.name: vectors.vector}
    tensors = Sessions(model, options).tensors
    found: dict[str, FloatArray] = dict(options.tensors or {})
    for name, vector in vectors.items():
        full = full_name(name, model.config.n_layer)
        bias = _bias_of(full)
        added = np.asarray(vector, np.float32)
        if added.shape != (model.config.n_embd,):
            raise InsideError(
                f"the vector for {full} has shape {added.shape}, and {model.path} needs "
                f"({model.config.n_embd},): it belongs to another model"
            )
        before: Any = found.get(bias)
        before = tensors.read(bias) if before is None else before
        found[bias] = np.asarray(before + np.float32(scale) * added, np.float32)
    return replace(options, tensors=found)


def _bias_of(name: str) -> str:
    """Return the bias that steers a value. Raises ValueError where none does."""
    parts = name.split(".")
    part = _BIASES.get(parts[-1])
    layer = int(parts[1]) if parts[0] == "blocks" else -1
    if parts[-1] == "hook_resid_pre" and layer > 0:
        part, layer = names.MLP_C_PROJ, layer - 1
    if part is None or layer < 0:
        raise ArgumentError(
            Argument("name"),
            f" is {name!r}, which no bias is added to; steer resid_post, resid_mid, attn_out or "
            "mlp_out of a layer, or resid_pre of one after the first",
        )
    return names.bias(f"h.{layer}.{part}")
