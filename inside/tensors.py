"""Tensors: the weights of a model folder by upstream's names, float32, whatever recipe stored them.

Without onnx: the graph's initializers are read from its bytes, the weights file is mapped. A weight
of a block is [in, out], as GPT-2 stores it; an embedding, or an output projection, is
[vocab_size, n_embd]. Rounded weights are given as the products use them: dequantized.
"""

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt2edge.config import ModelConfig
from gpt2edge.errors import InsideError
from gpt2edge.graph import names
from gpt2edge.graph.protobuf import Field, fields
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.ort.graph_values import GraphValues

# numbers of fields in onnx.proto, of TensorProto
_DIMS, _DATA_TYPE, _FLOATS, _NAME, _RAW, _EXTERNAL = 1, 2, 4, 8, 9, 13
_DTYPES: Final = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64}
_ZERO: Final = {8: 128, 4: 8}
"""The stored number that stands for 0, by bits; the recipes round symmetrically."""


class _Stored(NamedTuple):
    """Where a tensor is: in the graph's bytes, or in the weights file from ``offset`` on."""

    shape: tuple[int, ...]
    dtype: Any
    raw: bytes
    offset: int | None


class Tensors:
    """Reads tensors of a graph by name; those of the weights file are mapped, not copied."""

    def __init__(self, graph: GraphValues, weights: Path, config: ModelConfig) -> None:
        self._stored = dict(_stored(part) for part in graph.initializers())
        self._weights = weights
        self._config = config

    def __repr__(self) -> str:
        return f"Tensors({len(self._stored)} of {self._weights.name})"

    def __contains__(self, name: str) -> bool:
        return name in self._stored or self._rounded(name) is not None

    def read(self, name: str) -> FloatArray:
        """Return a tensor as float32; the exporter's padding of heads and blocks is cut off.

        Raises InsideError where the folder has no tensor of this name.
        """
        if name in self._stored:
            return self._cut(name, np.asarray(self.raw(name), np.float32))
        rounded = self._rounded(name)
        if rounded is None:
            raise InsideError(f"the model has no tensor {name!r}: {sorted(self._stored)[:3]}, ...")
        return self._cut(name, rounded)

    def raw(self, name: str) -> NDArray[Any]:
        """Return a tensor of the file as it is stored."""
        shape, dtype, raw, offset = self._stored[name]
        if offset is None:
            return np.frombuffer(raw, dtype).reshape(shape)
        if not int(np.prod(shape)):
            return np.zeros(shape, dtype)
        return np.memmap(self._weights, dtype, "r", offset, shape)

    def unembedding(self, rows: NDArray[np.int64] | None = None) -> FloatArray:
        """Return the output projection [vocab_size, n_embd], or its ``rows``."""
        name = names.weight(names.LM_HEAD)
        whole = self.read(name if name in self else names.weight(names.WTE))
        return whole if rows is None else whole[rows]

    def head_bias(self) -> FloatArray:
        """Return the bias of the output projection [vocab_size], mostly zeros."""
        name = names.bias(names.LM_HEAD)
        if name in self:
            return self.read(name)
        return np.zeros(self._config.vocab_size, np.float32)

    @property
    def head_width(self) -> int:
        """Columns of a head in the graph, which pads them in some profiles."""
        bias = self._stored[names.bias(f"h.0.{names.C_ATTN}")]
        return bias.shape[0] // (3 * self._config.n_head)

    def head_outputs(self, layer: int) -> FloatArray:
        """Return what each head's z is multiplied by, [n_head, head_dim, n_embd] (W_O)."""
        config = self._config
        weight = self.read(names.weight(f"h.{layer}.{names.ATTN_C_PROJ}"))
        return weight.reshape(config.n_head, -1, config.n_embd)[:, : config.head_dim]

    def _rounded(self, name: str) -> FloatArray | None:
        """Return a weight that a recipe rounded, or None where there is none of that name."""
        for bits in (8, 4):
            stem = f"{name}.int{bits}"
            for kind in ("blocks", "rows"):
                if f"{stem}.{kind}" in self._stored:
                    return self._from_blocks(stem, kind, bits)
        stem = f"{name}.int8"
        if stem not in self._stored:
            return None
        columns = self.raw(stem).astype(np.float32)  # [in, out]
        return np.asarray(columns * self.raw(f"{stem}.scales"), np.float32)

    def _from_blocks(self, stem: str, kind: str, bits: int) -> FloatArray:
        """Dequantize blocks: [in, out] for a weight of a block, [out, in] for an embedding."""
        packed = self.raw(f"{stem}.{kind}")
        scales = self.raw(f"{stem}.scales")
        out = packed.shape[0]
        if bits == 4:  # two in a byte, the low half first
            packed = np.stack([packed & 15, packed >> 4], axis=-1)
        numbers = packed.reshape(out, scales.size // out, -1).astype(np.float32) - _ZERO[bits]
        whole = (numbers * scales.reshape(out, -1, 1)).reshape(out, -1)  # [out, in]
        return np.asarray(whole.T if names.in_block(stem) else whole, np.float32)

    def _cut(self, name: str, array: FloatArray) -> FloatArray:
        """Cut off the rows or columns that fill a last block."""
        config = self._config
        part = name.removesuffix(".weight")
        if array.ndim == 1 or not name.endswith(".weight"):
            return array
        if not names.in_block(name):
            return array[:, : config.n_embd]
        inputs = {
            names.MLP_C_PROJ: config.n_inner,
            names.ATTN_C_PROJ: config.n_head * self.head_width,
        }
        return array[: inputs.get(part.split(".", 2)[2], config.n_embd)]


def _stored(part: Field) -> tuple[str, _Stored]:
    """Read a TensorProto: its name, shape and type, and where its bytes are."""
    dims: list[int] = []
    kind, name, raw, external = 0, "", b"", {}
    for item in fields(part.content):
        if item.number == _DIMS:
            dims += _numbers(item)
        elif item.number == _DATA_TYPE:
            kind = _numbers(item)[0]
        elif item.number == _NAME:
            name = item.content.decode()
        elif item.number in (_RAW, _FLOATS):
            raw = item.content
        elif item.number == _EXTERNAL:
            external[item.strings(1)[0].decode()] = item.strings(2)[0].decode()
    offset = int(external.get("offset", 0)) if external else None
    return name, _Stored(tuple(dims), _DTYPES.get(kind, np.uint8), raw, offset)


def _numbers(item: Field) -> list[int]:
    """Return the whole numbers of a field: one, or several that are packed."""
    found, value, shift = [], 0, 0
    for byte in item.content:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(value)
            value, shift = 0, 0
    return found
