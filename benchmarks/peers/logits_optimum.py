"""Logits of Optimum's export: dynamic int8, per channel, by its preset for this CPU ("int8")."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from optimum.onnxruntime import ORTModelForCausalLM, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

from benchmarks.peers.logits import serve, versions


class OptimumLogits:
    """An exported folder, run without a past."""

    def __init__(self, folder: Path, file: str, variant: str) -> None:
        self._model = ORTModelForCausalLM.from_pretrained(folder, file_name=file)
        files = [path for path in folder.iterdir() if path.name.startswith(file)]
        self.facts: dict[str, Any] = {
            "system": f"Optimum {variant}",
            "bytes": sum(path.stat().st_size for path in files),
            "n_vocab": self._model.config.vocab_size,
            "settings": "dynamic, per channel" if variant == "int8" else "",
            "versions": versions("optimum-onnx", "onnxruntime", "transformers"),
        }

    @torch.inference_mode()
    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """[tokens, n_vocab], in one call."""
        ids = torch.tensor([list(token_ids)])
        positions = torch.arange(len(token_ids))[None]
        found = self._model(ids, attention_mask=torch.ones_like(ids), position_ids=positions)
        logits: NDArray[np.float32] = found.logits[0].numpy()
        return logits


def load(checkpoint: Path, variant: str, work: Path) -> OptimumLogits:
    """Export the checkpoint, and quantize the export."""
    folder = work / "optimum-fp32"
    model = ORTModelForCausalLM.from_pretrained(checkpoint, export=True)
    model.save_pretrained(folder)
    if variant == "fp32":
        return OptimumLogits(folder, "model.onnx", variant)
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    vnni = "avx512_vnni" in flags
    preset = AutoQuantizationConfig.avx512_vnni if vnni else AutoQuantizationConfig.avx2
    quantizer = ORTQuantizer.from_pretrained(model)
    out = work / f"optimum-{variant}"
    config = preset(is_static=False, per_channel=True)
    quantizer.quantize(save_dir=out, quantization_config=config)
    return OptimumLogits(out, "model_quantized.onnx", variant)


if __name__ == "__main__":
    serve(load)
