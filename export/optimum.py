"""Export with Optimum: a graph traced by torch, which the engine also runs."""

import os
from typing import Any, Final

from gpt2edge._checks import check_path
from gpt2edge._extras import require
from gpt2edge._optimum import OPTIMUM
from gpt2edge._progress import Progress, silent
from gpt2edge.errors import ExportError
from gpt2edge.export.exporter import manifest_of
from gpt2edge.export.generation_config import FILE as GENERATION_FILE
from gpt2edge.export.generation_config import check_generation_config
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.sources.hugging_face import FORM as SAFETENSORS
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.verify.parity import verify_graph
from gpt2edge.model_dir import GRAPH_FILE, ModelDir, staged_folder, write_manifest

_TASK: Final = "text-generation-with-past"


def export_with_optimum(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ModelDir:
    """Run ``optimum-cli export onnx`` on the checkpoint ``source``, and verify the result.

    The files are Optimum's; a manifest is added. Needs the optimum extra, which installs torch.
    Raises the errors of ``export_checkpoint``, and ExportError where Optimum fails.
    """
    tell = progress or silent
    tell("loading Optimum", 0, 0)
    main_export = require("optimum", "optimum.exporters.onnx").main_export
    check_path("source", source)
    checkpoint = Checkpoint.open(source)
    if checkpoint.source.form != SAFETENSORS:
        raise ExportError(
            f"{checkpoint.source.path} is a {checkpoint.source.form}: Optimum reads Hugging Face "
            "folders with safetensors; export it without Optimum"
        )
    if checkpoint.head.task != "text-generation":
        raise ExportError(
            f"Optimum's graph of a model of task {checkpoint.head.task} cannot be run here: export "
            "it without Optimum"
        )
    with staged_folder(out, overwrite=overwrite) as folder:
        tell("tracing the model", 0, 0)
        try:
            main_export(str(checkpoint.path), folder, task=_TASK, do_validation=False)
        except OSError:
            raise
        except Exception as error:  # torch and Optimum raise errors of any type
            raise ExportError(f"Optimum cannot export {checkpoint.path}: {error}") from error
        if (folder / GENERATION_FILE).is_file():
            check_generation_config(checkpoint, read_source_json(folder / GENERATION_FILE))
        graph = folder / GRAPH_FILE
        verify_graph(checkpoint, graph, progress=tell)
        opset, ir_version = _versions(graph)
        write_manifest(folder, manifest_of(checkpoint, OPTIMUM, opset=opset, ir_version=ir_version))
    return ModelDir.open(out)


def _versions(graph: Any) -> tuple[int, int]:
    """Return the opset of ONNX's own operators and the IR version."""
    import onnx

    model = onnx.load(graph, load_external_data=False)
    return next(item.version for item in model.opset_import if not item.domain), model.ir_version
