"""Make the model that the wheel carries: export the storyteller's checkpoint and quantize it.

python -m training.story.bundle [--source DIR] [--out DIR] [--recipe NAME]
"""

import tempfile
from pathlib import Path

import click

from gpt2edge.export import export_checkpoint
from gpt2edge.quant import quantize
from gpt2edge.quant.recipes import named_recipe

ROOT = Path(__file__).resolve().parents[2]
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--source", type=FOLDER, default=ROOT / "training" / "models" / "storyteller")
@click.option("--out", type=FOLDER, default=ROOT / "runtime" / "assets" / "storyteller")
@click.option("--recipe", default="int8-block", show_default=True)
def main(source: Path, out: Path, recipe: str) -> None:
    """Export SOURCE, quantize it by RECIPE, and replace OUT."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = export_checkpoint(source, Path(scratch) / source.name)
        model = quantize(exported, out, recipe=named_recipe(recipe), overwrite=True)
    click.echo(f"{model.path}: {model.manifest.variant}, {model.nbytes:,} bytes")


if __name__ == "__main__":
    main()
