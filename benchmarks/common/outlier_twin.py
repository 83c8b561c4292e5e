"""Make the outlier twin of a checkpoint: the same function, with the channels that hurt int8.

Trained GPT-2s have a few LayerNorm channels far larger than the rest. This puts such channels into
any checkpoint: in every LayerNorm before a product, some gains and biases are multiplied by 30 to
100 and the next weight's rows divided by the same.

    python -m benchmarks.common.outlier_twin CHECKPOINT OUT [--channels 3] [--seed 0]
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

LARGEST = (30.0, 100.0)
NEXT = {"ln_1": "attn.c_attn.weight", "ln_2": "mlp.c_fc.weight"}


def add_outliers(tensors: dict[str, NDArray[np.float32]], channels: int, seed: int) -> None:
    """Scale ``channels`` channels of every LayerNorm inside a block, in place."""
    rng = np.random.default_rng(seed)
    for name in sorted(name for name in tensors if name.endswith(("ln_1.weight", "ln_2.weight"))):
        block, norm, _ = name.rsplit(".", 2)
        gain, bias, rows = name, f"{block}.{norm}.bias", f"{block}.{NEXT[norm]}"
        chosen = rng.choice(tensors[gain].size, min(channels, tensors[gain].size), replace=False)
        factors = rng.uniform(*LARGEST, chosen.size).astype(np.float32)
        tensors[gain][chosen] *= factors
        tensors[bias][chosen] *= factors
        tensors[rows][chosen] /= factors[:, None]


def make_twin(source: Path, out: Path, *, channels: int, seed: int) -> None:
    """Copy the checkpoint folder ``source`` to ``out``, its tensors with outliers."""
    shutil.copytree(source, out)
    tensors = {
        name: tensor.astype(np.float32)
        for name, tensor in load_file(source / "model.safetensors").items()
    }
    add_outliers(tensors, channels, seed)
    (out / "model.safetensors").unlink()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--channels", type=int, default=3, help="per LayerNorm")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make_twin(args.source, args.out, channels=args.channels, seed=args.seed)


if __name__ == "__main__":
    main()
