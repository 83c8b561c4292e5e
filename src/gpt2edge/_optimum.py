"""Folders exported by Optimum: detect the layouts that the engine cannot run."""

from pathlib import Path
from typing import Final

from gpt2edge.errors import ModelDirError

OPTIMUM: Final = "optimum"
"""The profile of a folder that Optimum exported."""

_LEGACY: Final = ("decoder_model_merged.onnx", "decoder_with_past_model.onnx", "decoder_model.onnx")


def check_not_legacy(folder: Path) -> None:
    """Raise ModelDirError if ``folder`` holds a decoder in one of Optimum's older layouts."""
    if (folder / "model.onnx").is_file():
        return
    for name in _LEGACY:
        for path in (folder / name, folder / "onnx" / name):
            if path.is_file():
                raise ModelDirError(
                    f"{path} is of an old export, with two decoder graphs or two merged into one, "
                    "which onnxruntime cannot optimize: export the checkpoint again, with "
                    "'gpt2edge export' or optimum-onnx"
                )
