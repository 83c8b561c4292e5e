"""Fetching a model from the Hugging Face Hub into the store, for ``load`` and ``gpt2edge pull``."""

from typing import TYPE_CHECKING, Final

from gpt2edge._checks import check_optional, check_text
from gpt2edge._progress import Progress
from gpt2edge.errors import ModelDirError
from gpt2edge.model_dir import ModelDir
from gpt2edge.store import find_model, remove_model, stored_path

if TYPE_CHECKING:
    from gpt2edge.export.sources.hub import Snapshot

FP32: Final = "fp32"


def pull(
    name: str,
    *,
    revision: str | None = None,
    recipe: str | None = None,
    progress: Progress | None = None,
) -> ModelDir:
    """Fetch the model ``name`` from the Hugging Face Hub, export it, and store it.

    ``recipe`` quantizes it, by a name that ``quantize_by_name`` takes. A stored model of the same
    commit is kept. Raises HubError, ExportError, QuantizationError, or MissingExtraError where a
    package is not installed.
    """
    check_text("name", name)
    check_optional("recipe", recipe, str, "a recipe's name")
    from gpt2edge.export.sources.hub import fetch

    recipe = None if recipe == FP32 else recipe
    stored_path(name, recipe or FP32)
    if recipe is not None:
        from gpt2edge.quant.by_name import check_recipe_name

        check_recipe_name(recipe)
    snapshot = fetch(name, revision=revision, progress=progress)
    if recipe is None:
        return _exported(snapshot, progress)
    return _quantized(snapshot, recipe, progress)


def _exported(snapshot: "Snapshot", progress: Progress | None) -> ModelDir:
    """Return the stored float32 model; export it if it is missing or of another commit."""
    from gpt2edge.export import export_checkpoint

    target = stored_path(snapshot.name, FP32)
    present = _present(snapshot, FP32)
    if present is not None:
        return present
    return export_checkpoint(
        snapshot.path,
        target,
        overwrite=target.exists(),
        origin=snapshot.origin,
        progress=progress,
    )


def _quantized(snapshot: "Snapshot", recipe: str, progress: Progress | None) -> ModelDir:
    """Return the stored quantized model; an intermediate float32 model is removed."""
    from gpt2edge.quant.by_name import quantize_by_name

    present = _present(snapshot, recipe)
    if present is not None:
        return present
    had = stored_path(snapshot.name, FP32).exists()
    source = _exported(snapshot, progress)
    target = stored_path(snapshot.name, recipe)
    try:
        return quantize_by_name(
            source, target, recipe, overwrite=target.exists(), progress=progress
        )[0]
    finally:
        if not had:
            remove_model(find_model(f"{snapshot.name}:{FP32}"))


def _present(snapshot: "Snapshot", variant: str) -> ModelDir | None:
    """Return the stored model if it is intact and of the snapshot's commit, else None."""
    try:
        model = ModelDir.open(stored_path(snapshot.name, variant))
    except ModelDirError:
        return None
    return model if model.manifest.source.startswith(snapshot.origin) else None
