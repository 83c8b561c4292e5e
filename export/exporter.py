"""export_checkpoint: check, build, write and verify a model folder."""

import os
from pathlib import Path
from typing import Final

from gpt2edge._checks import check_callable, check_one_of, check_path, check_text
from gpt2edge._extras import installed_version
from gpt2edge._progress import Progress, silent
from gpt2edge.export.architectures.profiles import CPU, PORTABLE, Architecture, architecture_of
from gpt2edge.export.genai_config import GENAI_FILE, genai_config
from gpt2edge.export.generation_config import write_generation_config
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.tokenizers.tokenizer import copy_tokenizer_files, write_tokenizer
from gpt2edge.export.verify.parity import verify_graph
from gpt2edge.graph.builder import IR_VERSION, OPSET
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.model_dir import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    Manifest,
    ModelDir,
    staged_folder,
    write_json,
    write_manifest,
)

_TOOLS: Final = ("gpt2edge", "onnx", "onnxruntime", "numpy")


def export_checkpoint(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    profile: str = CPU,
    overwrite: bool = False,
    origin: str | None = None,
    progress: Progress | None = None,
) -> ModelDir:
    """Turn a Hugging Face GPT-2 folder into a model folder, and verify the written graph.

    ``source`` holds ``config.json``, ``model.safetensors`` (or shards with their index) and
    optionally a tokenizer. ``profile`` is "cpu", or "portable" for Optimum and for execution
    providers other than the CPU's; ``origin`` is the checkpoint's source in the manifest, by
    default the folder's name. ``progress`` is called for every tensor. Raises ExportError that
    names the file or tensor at fault, ParityError where the graph disagrees with the numpy
    reference, ModelDirError where ``out`` exists or cannot be written; ``out`` is then unchanged.
    """
    check_path("source", source)
    check_one_of("profile", profile, (CPU, PORTABLE))
    if origin is not None:
        check_text("origin", origin)
    tell = progress or silent
    check_callable("progress", progress)
    checkpoint = Checkpoint.open(source)
    architecture = architecture_of(profile, checkpoint.config, checkpoint.head)
    with staged_folder(out, overwrite=overwrite) as folder:
        write_json(folder / "config.json", checkpoint.keys)
        write_tokenizer(checkpoint.path, folder, vocab_size=checkpoint.config.vocab_size)
        write_generation_config(checkpoint, folder)
        _write_peers_files(checkpoint, folder, profile)
        write_graph(checkpoint, folder, architecture, tell)
        verify_graph(checkpoint, folder / GRAPH_FILE, progress=tell)
        tell("hashing what was written", 0, 0)
        write_manifest(folder, manifest_of(checkpoint, profile, origin=origin))
    return ModelDir.open(out)


def write_graph(
    checkpoint: Checkpoint, folder: Path, architecture: Architecture, progress: Progress = silent
) -> None:
    """Write ``model.onnx`` and ``model.onnx_data``; one tensor is in memory at a time."""
    read = checkpoint.reader("writing tensors", progress)
    with WeightsFile(folder / WEIGHTS_FILE) as store:
        model = architecture(checkpoint.config, checkpoint.head, read, store)
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())


def _write_peers_files(checkpoint: Checkpoint, folder: Path, profile: str) -> None:
    """Write the files that transformers, Optimum and onnxruntime-genai expect beside the graph."""
    copy_tokenizer_files(checkpoint.path, folder, all_of_them=profile == PORTABLE)
    if profile == CPU and checkpoint.head.task == "text-generation":
        write_json(folder / GENAI_FILE, genai_config(checkpoint))


def manifest_of(
    checkpoint: Checkpoint,
    profile: str,
    *,
    opset: int = OPSET,
    ir_version: int = IR_VERSION,
    origin: str | None = None,
) -> Manifest:
    """Return the manifest of an export, without the files' records."""
    return Manifest(
        profile=profile,
        variant="fp32",
        task=checkpoint.head.task,
        opset=opset,
        ir_version=ir_version,
        source=checkpoint.path.resolve().name if origin is None else origin,
        tool_versions={tool: installed_version(tool) for tool in _TOOLS},
    )
