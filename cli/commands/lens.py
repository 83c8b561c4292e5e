"""``gpt2edge lens``."""

from pathlib import Path

import click

from gpt2edge.cli.display.output import note
from gpt2edge.cli.display.progress import counted, watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import Target, read_file


@command()
@click.argument("path", metavar="TEXT")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="LENS.npz",
    help="File to write.",
)
@click.option(
    "--tokens",
    type=click.IntRange(2),
    default=60_000,
    show_default=True,
    metavar="N",
    help="Tokens of the text to fit on.",
)
@Target.options()
def lens(path: str, out: Path, tokens: int, target: Target) -> None:
    """Fit an affine lens on TEXT, for look --affine.

    The logit lens reads an early block with the last block's measure. The affine lens translates it
    first, by the map of least squares from each block's residual to the last one. It serves the
    model that it was fitted on. TEXT "-" is stdin.

    \b
    Examples:
      gpt2edge lens books.txt --out lens.npz
      gpt2edge look "Once upon a time" --affine lens.npz
    """
    from gpt2edge.inside import AffineLens

    text = read_file(path)
    engine = target.load()
    with watched("fitting") as progress:
        told = counted(progress, "fitting")
        fitted = AffineLens.fit(engine.inside(), text, tokens=tokens, progress=told)
    fitted.save(out)
    note(f"wrote {out}: fitted on {fitted.tokens:,} tokens")
