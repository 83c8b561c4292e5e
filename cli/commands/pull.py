"""``gpt2edge pull``."""

from typing import TYPE_CHECKING, Final

import click

from gpt2edge.cli.display.output import note, size
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.names import RECIPE, STORED

if TYPE_CHECKING:
    from gpt2edge._progress import Progress
    from gpt2edge.export.sources.hub import Snapshot
    from gpt2edge.model_dir import ModelDir

FP32: Final = "fp32"


@command()
@click.argument("name", type=STORED)
@click.option(
    "--revision", metavar="REV", help="Fetch this branch, tag or commit.  [default: main]"
)
@click.option(
    "--recipe",
    type=RECIPE,
    metavar="NAME",
    help="Quantize by a recipe of quantize, such as int4 or auto.  [default: keep float32]",
)
def pull(name: str, revision: str | None, recipe: str | None) -> None:
    """Fetch the model NAME from the Hugging Face Hub.

    It is exported, quantized if a recipe is given, and stored.

    NAME is the model's name on the Hub, such as openai-community/gpt2. Every command and
    gpt2edge.load then accept it in place of a folder; if it has several variants, write NAME:int8.
    Only safetensors and text files are fetched, into the Hub's own cache (HF_HOME), which other
    tools share; HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE apply. The model is stored in
    GPT2EDGE_STORE, by default gpt2edge/models in the user's data folder; see "gpt2edge models".

    Needs the extra hub; gpt2edge doctor shows how to install it.

    \b
    Examples:
      gpt2edge pull openai-community/gpt2
      gpt2edge pull distilbert/distilgpt2 --recipe int4
      gpt2edge generate -m distilbert/distilgpt2 "Edge inference is"
    """
    from gpt2edge.export.sources.hub import fetch
    from gpt2edge.store import stored_path

    stored_path(name, recipe or FP32)
    if recipe is not None:
        from gpt2edge.quant.by_name import check_recipe_name

        check_recipe_name(recipe)
    with watched("") as progress:  # silent beside the bars of the Hub's client
        snapshot = fetch(name, revision=revision, progress=progress)
        if recipe is None:
            model = _exported(snapshot, progress)
        else:
            model = _quantized(snapshot, recipe, progress)
    note(f"{name}:{recipe or FP32}: {size(model.nbytes)} at {model.path}")


def _exported(snapshot: "Snapshot", progress: "Progress | None") -> "ModelDir":
    """Return the stored float32 model; export it if it is missing or of another commit."""
    from gpt2edge.export import export_checkpoint
    from gpt2edge.store import stored_path

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


def _quantized(snapshot: "Snapshot", recipe: str, progress: "Progress | None") -> "ModelDir":
    """Return the stored quantized model; an intermediate float32 model is removed."""
    from gpt2edge.quant.by_name import quantize_by_name
    from gpt2edge.store import find_model, remove_model, stored_path

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


def _present(snapshot: "Snapshot", variant: str) -> "ModelDir | None":
    """Return the stored model if it is intact and of the snapshot's commit, else None."""
    from gpt2edge.errors import ModelDirError
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.store import stored_path

    try:
        model = ModelDir.open(stored_path(snapshot.name, variant))
    except ModelDirError:
        return None
    return model if model.manifest.source == snapshot.origin else None
