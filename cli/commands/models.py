"""``gpt2edge models``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.commands.inspect import inspect
from gpt2edge.cli.display.output import note, print_json, print_table, size
from gpt2edge.cli.help import Group
from gpt2edge.cli.options.common import json_option
from gpt2edge.cli.options.names import STORED

if TYPE_CHECKING:
    from gpt2edge.store import StoredModel


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def models(ctx: click.Context) -> None:
    """List, show and remove fetched models.

    Models are stored in GPT2EDGE_STORE, by default gpt2edge/models in the user's data folder
    (XDG_DATA_HOME or ~/.local/share). A model is called NAME, or NAME:VARIANT if it has several
    variants. Without a command, lists the models.

    \b
    Examples:
      gpt2edge models
      gpt2edge models show openai-community/gpt2
      gpt2edge models rm openai-community/gpt2:fp32
      gpt2edge generate -m openai-community/gpt2:int8 "Edge inference is"
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models)


@models.command("list")
@json_option
def list_models(as_json: bool = False) -> None:
    """List the models of the store.

    With --json: store, models (name, path, bytes, source).

    \b
    Example:
      gpt2edge models list --json
    """
    from gpt2edge.store import store_dir, stored_models

    found = stored_models()
    if as_json:
        rows = [{"name": model.reference, "path": model.path, **_facts(model)} for model in found]
        print_json({"store": str(store_dir()), "models": [_texts(row) for row in rows]})
    elif found:
        table = [(m.reference, size(f["bytes"]), f["source"]) for m in found for f in [_facts(m)]]
        print_table([("model", "size", "source"), *table], right=(1,))
    else:
        note(f"no models in {store_dir()}: fetch one with 'gpt2edge pull NAME'")


@models.command()
@click.argument("name", type=STORED)
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show what the model NAME holds, as inspect does.

    \b
    Example:
      gpt2edge models show openai-community/gpt2
    """
    from gpt2edge.store import find_model

    ctx.invoke(inspect, model=find_model(name).path, as_json=as_json)


@models.command()
@click.argument("names", type=STORED, metavar="NAME...", nargs=-1, required=True)
def rm(names: tuple[str, ...]) -> None:
    """Remove the models NAME from the store, not from the Hub's own cache.

    \b
    Example:
      gpt2edge models rm openai-community/gpt2:fp32
    """
    from gpt2edge.store import find_model, remove_model

    for model in [find_model(name) for name in names]:
        remove_model(model)
        note(f"removed {model.reference}")


@models.command()
@click.argument("name", type=STORED)
def path(name: str) -> None:
    """Print the folder of the model NAME.

    \b
    Example:
      du -sh "$(gpt2edge models path openai-community/gpt2)"
    """
    from gpt2edge.store import find_model

    click.echo(find_model(name).path)


def _facts(model: "StoredModel") -> dict[str, Any]:
    """Size, source and task; a damaged model is listed, so that it can be removed."""
    from gpt2edge.errors import ModelDirError
    from gpt2edge.model_dir import ModelDir

    try:
        opened = ModelDir.open(model.path)
    except ModelDirError as error:
        return {"bytes": 0, "source": f"damaged: {error}"}
    return {"bytes": opened.nbytes, "source": opened.manifest.source}


def _texts(row: dict[str, object]) -> dict[str, object]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in row.items()}
