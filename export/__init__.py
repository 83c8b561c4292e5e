"""Export: turn a Hugging Face GPT-2 folder into a model folder, without torch."""

from gpt2edge._extras import require

for _package in ("onnx", "safetensors"):  # before the modules below import them
    require("export", _package)

from gpt2edge.export.exporter import export_checkpoint  # noqa: E402
from gpt2edge.export.optimum import export_with_optimum  # noqa: E402

__all__ = ["export_checkpoint", "export_with_optimum"]
