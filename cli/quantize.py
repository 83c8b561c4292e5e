"""``gpt2edge quantize``."""

from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--recipe", default="int8", show_default=True, help="int8, int8-block or int4.")
@click.option("--overwrite", is_flag=True, help="Replace OUT where it is a model folder.")
def quantize(model: Path, out: Path, recipe: str, overwrite: bool) -> None:
    """Write the exported MODEL to OUT, smaller and faster."""
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.quant import named_recipe
    from gpt2edge.quant import quantize as run

    source = ModelDir.open(model)
    result = run(source, out, recipe=named_recipe(recipe), overwrite=overwrite)
    share = result.nbytes / source.nbytes
    click.echo(f"{out}: {result.nbytes / 1e6:,.1f} MB, {share:.0%} of {model}", err=True)
