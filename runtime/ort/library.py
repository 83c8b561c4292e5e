"""The only door to onnxruntime, which is told to report to nobody before it is loaded."""

from gpt2edge._telemetry import decline

decline()

import onnxruntime as ort  # noqa: E402

__all__ = ["ort"]
