"""Write a GPT-2 checkpoint of any size with random weights: enough to measure speed by.

    python -m benchmarks.common.checkpoint OUT [--size 124M | --layers 2 --heads 2 --width 32 ...]

The weights have the scale of a trained model's start: normal with deviation 0.02, projections onto
the residual stream scaled down by the depth, LayerNorm gains around 1. The head is tied.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIZES: Final = {
    "124M": (12, 12, 768),
    "355M": (24, 16, 1024),
    "774M": (36, 20, 1280),
    "1.5B": (48, 25, 1600),
}
_DEVIATION: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The numbers of ``config.json`` that decide how large a model is."""

    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    n_positions: int = 1024
    vocab_size: int = 50257

    @classmethod
    def of(cls, size: str) -> "Shape":
        """One of the published sizes, by its name."""
        n_layer, n_head, n_embd = SIZES[size]
        return cls(n_layer=n_layer, n_head=n_head, n_embd=n_embd)


def write_checkpoint(out: Path, shape: Shape, *, seed: int = 0) -> Path:
    """Write ``config.json`` and ``model.safetensors`` into ``out``; the same seed, same bytes."""
    out.mkdir(parents=True, exist_ok=True)
    keys = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **asdict(shape)}
    keys |= {"activation_function": "gelu_new", "tie_word_embeddings": True, "dtype": "float32"}
    keys |= {"eos_token_id": shape.vocab_size - 1, "bos_token_id": shape.vocab_size - 1}
    (out / "config.json").write_text(json.dumps(keys, indent=2) + "\n", encoding="utf-8")
    _save(out / "model.safetensors", shape, seed)
    return out


def _save(path: Path, shape: Shape, seed: int) -> None:
    """Write safetensors one tensor at a time: the largest size is 6 GB."""
    sizes = _tensors(shape, None)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, size in sizes:
        start, end = end, end + 4 * math.prod(size.shape)
        header[name] = {"dtype": "F32", "shape": size.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in _tensors(shape, np.random.default_rng(seed)):
            file.write(np.ascontiguousarray(array, "<f4").data)


def _tensors(
    shape: Shape, random: np.random.Generator | None
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    width = shape.n_embd

    def normal(*size: int, deviation: float = _DEVIATION) -> NDArray[np.float32]:
        if random is None:  # a place holder of the shape
            return np.broadcast_to(np.float32(0), size)
        values: NDArray[np.float32] = random.standard_normal(size, np.float32)
        values *= np.float32(deviation)
        return values

    yield "wte.weight", normal(shape.vocab_size, width)
    yield "wpe.weight", normal(shape.n_positions, width, deviation=_DEVIATION / 2)
    onto_residual = _DEVIATION / (2 * shape.n_layer) ** 0.5
    for layer in range(shape.n_layer):
        for name, rows, columns, deviation in (
            ("attn.c_attn", width, 3 * width, _DEVIATION),
            ("attn.c_proj", width, width, onto_residual),
            ("mlp.c_fc", width, 4 * width, _DEVIATION),
            ("mlp.c_proj", 4 * width, width, onto_residual),
        ):
            yield f"h.{layer}.{name}.weight", normal(rows, columns, deviation=deviation)
            yield f"h.{layer}.{name}.bias", normal(columns)
    norms = [f"h.{layer}.ln_{place}" for layer in range(shape.n_layer) for place in (1, 2)]
    for name in [*norms, "ln_f"]:
        yield f"{name}.weight", 1 + normal(width)
        yield f"{name}.bias", normal(width)


def main() -> None:
    """Parse the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(description="Write a random-weight GPT-2 checkpoint.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=SIZES, default="124M")
    for name in ("layers", "heads", "width", "positions", "vocab"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    size = Shape.of(args.size)
    shape = Shape(
        n_layer=args.layers or size.n_layer,
        n_head=args.heads or size.n_head,
        n_embd=args.width or size.n_embd,
        n_positions=args.positions or size.n_positions,
        vocab_size=args.vocab or size.vocab_size,
    )
    print(write_checkpoint(args.out, shape, seed=args.seed))


if __name__ == "__main__":
    main()
