"""Export: turn a GPT-2 of any form that is read into a model folder, without torch."""

from typing import TYPE_CHECKING

from gpt2edge._extras import require
from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.export.exporter import export_checkpoint
    from gpt2edge.export.inspection import SourceFacts, inspect_source
    from gpt2edge.export.optimum import export_with_optimum
    from gpt2edge.export.options import SourceOptions

__all__ = [
    "SourceFacts",
    "SourceOptions",
    "export_checkpoint",
    "export_with_optimum",
    "inspect_source",
]

for _package in (
    "onnx",
    "safetensors",
):  # one line that says what to install, before anything is used
    require("export", _package)

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "SourceFacts": "gpt2edge.export.inspection",
            "SourceOptions": "gpt2edge.export.options",
            "export_checkpoint": "gpt2edge.export.exporter",
            "export_with_optimum": "gpt2edge.export.optimum",
            "inspect_source": "gpt2edge.export.inspection",
        },
    )
