"""``gpt2edge glitch``."""

from typing import TYPE_CHECKING

import click

from gpt2edge.cli.display.output import print_json, print_table, quoted
from gpt2edge.cli.display.progress import counted, watched
from gpt2edge.cli.help import command
from gpt2edge.cli.options.common import Target, json_option

if TYPE_CHECKING:
    from gpt2edge.inside import UndertrainedTokens


@command()
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.02,
    show_default=True,
    help="Share of ordinary tokens to name.",
)
@click.option(
    "--repeat/--no-repeat",
    default=True,
    help="Ask the model to repeat each of them.  [default: repeat]",
)
@Target.options()
@json_option
def glitch(share: float, repeat: bool, target: Target, as_json: bool) -> None:
    """Find tokens that the model was hardly trained on.

    The smaller the distance of a token's output row to those of bytes that UTF-8 never uses, the
    less any text has moved it (Land & Bartolo 2024). A model that cannot repeat such a token
    confirms it: below 0.01 it is under-trained. Ordinary tokens are asked, too: a model that does
    not repeat those confirms nothing, and the command says so.

    With --json: candidates, categories, typical, unused, control, verifiable.

    \b
    Examples:
      gpt2edge glitch --no-repeat
      gpt2edge glitch -m models/gpt2 --share 0.01
    """
    from gpt2edge.inside import undertrained_tokens

    engine = target.load()
    with watched("comparing") as progress:
        found = undertrained_tokens(
            engine, share=share, verify=repeat, progress=counted(progress, "repeating")
        )
    if as_json:
        print_json(found.as_dict())
        return
    rows = [
        (
            each.token_id,
            f"{each.to_unused:.4f}",
            "-" if each.probability is None else f"{each.probability:.4f}",
            quoted(each.text),
        )
        for each in found.candidates
    ]
    print_table([("id", "distance", "repeated", "token"), *rows], right=(0, 1, 2))
    _reading(found)


def _reading(found: "UndertrainedTokens") -> None:
    """Say what the distances and the repetition are to be compared with."""
    _, middle, _ = found.typical
    click.echo(
        f"\nordinary tokens: distance {middle:.2f} in the middle; bytes that never occur: up to "
        f"{found.unused:.4f}"
    )
    if found.verifiable is False:
        click.echo(
            f"not verifiable: this model does not repeat, ordinary tokens have {found.control:.4f}"
        )
    elif found.verifiable:
        click.echo(f"{len(found.verified())} are confirmed: repeated with less than 0.01")
