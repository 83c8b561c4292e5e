"""export_checkpoint: check, build, write and verify a model folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gpt2edge._checks import check_bool, check_callable, check_one_of, check_path, check_text
from gpt2edge._extras import installed_version
from gpt2edge._progress import Progress, silent
from gpt2edge.errors import ExportError
from gpt2edge.export.architectures.profiles import CPU, PORTABLE, Build, architecture_of
from gpt2edge.export.genai_config import GENAI_FILE, genai_config
from gpt2edge.export.generation_config import write_generation_config
from gpt2edge.export.options import SourceOptions
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.sources.hugging_face import FORM as SAFETENSORS
from gpt2edge.export.tokenizers.kinds import why_none
from gpt2edge.export.tokenizers.options import TokenizerOptions
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
    hidden_states: bool = False,
    overwrite: bool = False,
    origin: str | None = None,
    options: SourceOptions | None = None,
    progress: Progress | None = None,
) -> ModelDir:
    """Turn a GPT-2 of any form that is read into a model folder, and verify the written graph.

    ``source`` is a folder or a file, such as a Hugging Face folder with ``config.json``,
    ``model.safetensors`` and optionally a tokenizer; ``options`` say what it does not say itself.
    ``profile`` is "cpu", or "portable" for Optimum and for execution providers other than the
    CPU's. ``hidden_states`` adds an output with what the head reads, for other engines and for
    profile portable: in profile cpu the engine finds it in every graph. ``origin`` names the source
    in the manifest, by default the file or folder; its form follows. ``progress`` is called for
    every tensor. Raises ExportError that names the file or tensor at fault, ParityError where the
    graph disagrees with the numpy reference, ProviderError where onnxruntime is too old for the
    model, ModelDirError where ``out`` exists or cannot be written; ``out`` is then unchanged.
    """
    check_path("source", source)
    check_one_of("profile", profile, (CPU, PORTABLE))
    check_bool("hidden_states", hidden_states)
    if origin is not None:
        check_text("origin", origin)
    tell = progress or silent
    check_callable("progress", progress)
    options = options or SourceOptions()
    checkpoint = Checkpoint.open(source, options)
    if profile == CPU:
        from gpt2edge.runtime.ort.session import require_windows

        require_windows(checkpoint.config)
    architecture = architecture_of(profile, checkpoint.config, checkpoint.head)
    with staged_folder(out, overwrite=overwrite) as folder:
        write_json(folder / "config.json", checkpoint.keys)
        _write_text_files(checkpoint, folder, profile, options)
        write_generation_config(checkpoint, folder)
        write_graph(checkpoint, folder, partial(architecture, hidden_states=hidden_states), tell)
        verify_graph(checkpoint, folder / GRAPH_FILE, progress=tell)
        tell("hashing what was written", 0, 0)
        write_manifest(folder, manifest_of(checkpoint, profile, origin=origin))
    return ModelDir.open(out)


def write_graph(
    checkpoint: Checkpoint, folder: Path, build: Build, progress: Progress = silent
) -> None:
    """Write ``model.onnx`` and ``model.onnx_data``; one tensor is in memory at a time."""
    read = checkpoint.reader("writing tensors", progress)
    with WeightsFile(folder / WEIGHTS_FILE) as store:
        model = build(checkpoint.config, checkpoint.head, read, store)
    (folder / GRAPH_FILE).write_bytes(model.SerializeToString())


def _write_text_files(
    checkpoint: Checkpoint, folder: Path, profile: str, options: SourceOptions
) -> None:
    """Write the tokenizer, and the files that transformers and onnxruntime-genai expect beside it.

    The tokenizer is the one that ``options`` name, the one that the source holds within itself, or
    the one of its folder.
    """
    size = checkpoint.config.vocab_size
    of_tokenizer = TokenizerOptions(lowercase=options.lowercase, pattern=options.tokenizer_pattern)
    with _tokenizer_place(checkpoint, options) as place:
        written = write_tokenizer(place, folder, vocab_size=size, options=of_tokenizer)
        if not written and options.tokenizer is not None:  # one was asked for
            raise ExportError(f"no tokenizer was read from {str(place)!r}: {why_none(place)}")
        copy_tokenizer_files(place, folder, all_of_them=profile == PORTABLE)
    if profile == CPU and checkpoint.head.task == "text-generation":
        write_json(folder / GENAI_FILE, genai_config(checkpoint))


@contextmanager
def _tokenizer_place(checkpoint: Checkpoint, options: SourceOptions) -> Iterator[Path]:
    """Yield the folder or file with the tokenizer; files that the source made lie there a while."""
    files = checkpoint.source.files
    place = options.tokenizer or checkpoint.source.tokenizer
    if place is not None or not files:
        yield place or checkpoint.path
        return
    with TemporaryDirectory(prefix="gpt2edge-") as made:
        for name, data in files.items():
            (Path(made) / name).write_bytes(data)
        yield Path(made)


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
        source=_origin(checkpoint, origin),
        tool_versions={tool: installed_version(tool) for tool in _TOOLS},
    )


def _origin(checkpoint: Checkpoint, given: str | None) -> str:
    """Return the source's name and, unless it is transformers' safetensors, its form."""
    source = checkpoint.source
    name = source.path.resolve().name if given is None else given
    return name if source.form == SAFETENSORS else f"{name} ({source.form})"
