"""quantize: turn an exported model folder into a smaller and faster one."""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import onnx

from gpt2edge._checks import MODEL, check_callable, check_optional, check_path
from gpt2edge._extras import installed_version
from gpt2edge._progress import Progress, silent
from gpt2edge.errors import QuantizationError
from gpt2edge.graph.tensors import TensorReader
from gpt2edge.graph.weights_file import WeightsFile
from gpt2edge.model_dir import (
    GRAPH_FILE,
    WEIGHTS_FILE,
    Manifest,
    ModelDir,
    staged_folder,
    write_manifest,
)
from gpt2edge.quant.calibration.calibration import Calibration, Observer
from gpt2edge.quant.calibration.equalization import EqualizedTensors, equalize
from gpt2edge.quant.calibration.kv_cache_scales import measure_cache_scales
from gpt2edge.quant.recipes import QuantRecipe, recipe_of
from gpt2edge.quant.rewriting.operators import QuantizedGraph
from gpt2edge.quant.rewriting.rewriter import Moments, Rewriter
from gpt2edge.runtime.ort.session import require_int8_cache

_TOOLS: Final = ("gpt2edge", "onnx", "onnxruntime", "numpy")


def quantize(
    model: ModelDir | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: QuantRecipe | str,
    calibration: Calibration | None = None,
    check: Callable[[ModelDir], None] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ModelDir:
    """Write the float32 ``model`` to the folder ``out``, quantized by ``recipe`` or its name.

    Without ``calibration``, scales come from the weights alone, or from a text that the model
    writes if the recipe's rounding or cache needs inputs. ``check`` is called with the finished
    folder before it becomes ``out``, and may reject it by raising. ``progress`` is called at every
    stage. Weights are read and written one at a time; on one machine the same input gives the same
    bytes.

    Raises QuantizationError where the model is quantized already or cannot be, ModelDirError where
    its files are damaged or ``out`` exists or cannot be written, ProviderError where this
    onnxruntime is too old for an int8 cache; ``out`` is then unchanged.
    """
    tell = progress or silent
    recipe = recipe_of(recipe)
    source = opened("model", model)
    check_optional("calibration", calibration, Calibration, "a Calibration")
    check_callable("check", check)
    check_callable("progress", progress)
    _check_source(source)
    _check_cache(source, recipe, calibration)
    with staged_folder(out, overwrite=overwrite) as folder:
        for name in source.manifest.files:
            if name not in (GRAPH_FILE, WEIGHTS_FILE):
                shutil.copyfile(source.path / name, folder / name)
        _write_graph(source, folder, recipe, calibration, tell)
        tell("hashing what was written", 0, 0)
        write_manifest(folder, _manifest(source.manifest, recipe))
        if check:
            check(ModelDir.open(folder))
    return ModelDir.open(out)


def opened(name: str, model: ModelDir | str | os.PathLike[str]) -> ModelDir:
    """Return the model folder of the argument ``name``; open it if it is a path."""
    if isinstance(model, ModelDir):
        return model
    check_path(name, model, f"a ModelDir, {MODEL}")
    return ModelDir.open(model)


def _check_source(source: ModelDir) -> None:
    variant = source.manifest.variant
    if variant != "fp32":
        raise QuantizationError(
            f"{str(source.path)!r} is quantized already ({variant}): quantize the float32 model "
            "from which it was made"
        )
    profile = source.manifest.profile
    if profile != "cpu":
        raise QuantizationError(
            f"{str(source.path)!r} is of profile {profile}: only profile cpu can be quantized; "
            "export the checkpoint with that profile, then quantize"
        )


def _check_cache(source: ModelDir, recipe: QuantRecipe, calibration: Calibration | None) -> None:
    if recipe.kv_cache == "float32":
        return
    require_int8_cache()
    if calibration is None and source.manifest.task != "text-generation":
        raise QuantizationError(
            f"{str(source.path)!r} writes no text to measure the scales of an int8 cache on: "
            "give a calibration text"
        )


def _write_graph(
    source: ModelDir,
    folder: Path,
    recipe: QuantRecipe,
    calibration: Calibration | None,
    progress: Progress,
) -> None:
    original = onnx.load(source.graph_path, load_external_data=False)
    tensors = EqualizedTensors(TensorReader(original.graph.initializer, source.path))
    compensates = recipe.rounding == "compensate"
    windows = _windows(source, recipe, calibration, progress)
    progress("reading the weights", 0, 0)
    observer = Observer(source, windows) if windows and (calibration or compensates) else None
    if recipe.equalize:
        observed = observer.statistics(progress) if observer and calibration else None
        equalize(tensors, source.config, observed)
    moments = Moments(observer, tensors, progress) if observer and compensates else None
    scales = {}
    if recipe.kv_cache == "int8":
        scales = measure_cache_scales(source, windows, tensors, progress)
    with WeightsFile(folder / WEIGHTS_FILE) as store:
        graph = QuantizedGraph(store)
        rewriter = Rewriter(tensors, graph, recipe, moments, scales, progress=progress)
        rewritten = rewriter.rewrite(original)
    if not rewriter.quantized:
        raise QuantizationError(
            f"{str(source.path)!r} has no weight that the recipe quantizes: choose another recipe"
        )
    (folder / GRAPH_FILE).write_bytes(rewritten.SerializeToString(deterministic=True))


def _windows(
    source: ModelDir, recipe: QuantRecipe, calibration: Calibration | None, progress: Progress
) -> list[list[int]]:
    """Return the tokens to calibrate on; empty if the recipe needs the weights alone."""
    if calibration is not None:
        return calibration.windows(source, progress)
    needs_inputs = recipe.rounding == "compensate" or recipe.kv_cache == "int8"
    writes = source.manifest.task == "text-generation"
    return Calibration().windows(source, progress) if needs_inputs and writes else []


def _manifest(source: Manifest, recipe: QuantRecipe) -> Manifest:
    return replace(
        source,
        variant=recipe.variant,
        recipe=asdict(recipe),
        tool_versions={
            **source.tool_versions,
            **{tool: installed_version(tool) for tool in _TOOLS},
        },
    )
