"""Make folders that run from the committed solvers: python -m training.solvers.export OUT.

Needs gpt2edge with its extras export and quant, not torch. OUT/NAME is made for each checkpoint
training/models/NAME of a task, such as OUT/stepmath-0.06m.
"""

import tempfile
from pathlib import Path

import click

from gpt2edge.export import export_checkpoint
from gpt2edge.quant import quantize
from gpt2edge.quant.recipes import named_recipe

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "training" / "models"
TASKS = ("stepmath", "game24")
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("out", type=FOLDER)
@click.option("--task", type=click.Choice([*TASKS, "all"]), default="all", show_default=True)
@click.option("--recipe", default="int8", show_default=True, help="fp32 leaves them as exported.")
@click.option("--source", type=FOLDER, default=MODELS, help="Folder of the checkpoints.")
def main(out: Path, task: str, recipe: str, source: Path) -> None:
    """Export the solvers, quantize them by RECIPE, and write them to OUT."""
    tasks = TASKS if task == "all" else (task,)
    found = sorted(path for name in tasks for path in source.glob(f"{name}-*"))
    if not found:
        raise click.ClickException(f"{source} holds no checkpoint of {', '.join(tasks)}")
    for checkpoint in found:
        target = out / checkpoint.name
        if recipe == "fp32":
            model = export_checkpoint(checkpoint, target, overwrite=True)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                exported = export_checkpoint(checkpoint, Path(scratch) / checkpoint.name)
                model = quantize(exported, target, recipe=named_recipe(recipe), overwrite=True)
        click.echo(f"{model.path}: {model.manifest.variant}, {model.nbytes:,} bytes")


if __name__ == "__main__":
    main()
