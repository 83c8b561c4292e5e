"""The only import of onnxruntime; its telemetry is disabled before it is loaded."""

from gpt2edge._telemetry import decline

decline()

import onnxruntime as ort  # noqa: E402

__all__ = ["ort"]
