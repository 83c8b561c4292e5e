"""``gpt2edge export``."""

from pathlib import Path

import click

from gpt2edge.cli.display.output import note, size
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import command


@command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--profile",
    type=click.Choice(["cpu", "portable"]),
    default="cpu",
    show_default=True,
    help="cpu: fused operators, cache updated in place. portable: standard operators in Optimum's "
    "layout, for Optimum and other execution providers; slower on CPUs.",
)
@click.option(
    "--via",
    type=click.Choice(["optimum"]),
    help="Let Optimum trace the graph (needs the optimum extra, which installs torch).",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is a model folder.")
def export(source: Path, out: Path, profile: str, via: str | None, overwrite: bool) -> None:
    """Turn the checkpoint SOURCE into the model folder OUT.

    SOURCE is a Hugging Face GPT-2 folder: config.json, model.safetensors (or shards with their
    index), and a tokenizer where there is one. The graph is built from these, without torch, and
    its logits are compared with a numpy reference before OUT appears: OUT is whole or absent.

    Needs the extra export; gpt2edge doctor shows how to install it.

    \b
    Examples:
      gpt2edge export checkpoints/gpt2 models/gpt2
      gpt2edge export checkpoints/gpt2 models/gpt2 --overwrite
      gpt2edge export checkpoints/gpt2 models/gpt2-portable --profile portable
      gpt2edge generate -m models/gpt2 "Edge inference is"
    """
    from gpt2edge.export import export_checkpoint, export_with_optimum

    with watched("reading the checkpoint") as progress:
        if via is None:
            model = export_checkpoint(
                source, out, profile=profile, overwrite=overwrite, progress=progress
            )
        else:
            model = export_with_optimum(source, out, overwrite=overwrite, progress=progress)
    note(f"{out}: {size(model.nbytes)}, {model.manifest.variant}, logits verified")
