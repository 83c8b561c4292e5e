"""``gpt2edge neurons``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpt2edge.cli.display.output import note, print_json, print_table, quoted
from gpt2edge.cli.display.progress import counted, watched
from gpt2edge.cli.help import Group
from gpt2edge.cli.options.common import Target, checked, json_option, read_file

if TYPE_CHECKING:
    from gpt2edge.inside import ActivationRecord, NeuronIndex

_FILE = click.Path(path_type=Path)
_AROUND = 8
"""Tokens that are shown before and after the one that activates most."""


@click.group(cls=Group)
def neurons() -> None:
    """Find what activates each neuron.

    \b
    Examples:
      gpt2edge neurons build books.txt --out index.npz
      gpt2edge neurons show index.npz 2.300
      gpt2edge neurons find index.npz " ship"
    """


@neurons.command()
@click.argument("paths", metavar="TEXT...", nargs=-1, required=True)
@click.option("--out", type=_FILE, required=True, metavar="INDEX.npz", help="File to write.")
@click.option(
    "--window", type=click.IntRange(2), default=128, show_default=True, help="Tokens of an excerpt."
)
@click.option(
    "-k", "k", type=click.IntRange(1, 1000), default=20, show_default=True, help="Excerpts kept."
)
@click.option(
    "--resume", is_flag=True, help="Go on from INDEX.npz, whose texts are the first of these."
)
@Target.options()
def build(
    paths: tuple[str, ...], out: Path, window: int, k: int, resume: bool, target: Target
) -> None:
    """Read TEXTs and keep the excerpts on which each neuron is most active.

    \b
    Example:
      gpt2edge neurons build one.txt two.txt --out index.npz --window 64
    """
    from gpt2edge.inside import NeuronIndex

    texts = [read_file(path) for path in paths]
    scope = target.load().inside()
    before = NeuronIndex.open(out, scope) if resume else None
    with watched("reading") as progress:
        index = NeuronIndex.build(
            scope,
            texts,
            k=k,
            window=window,
            resume=before,
            progress=counted(progress, "reading"),
        )
    index.save(out, overwrite=resume)
    note(f"wrote {out}: {index.about['tokens']:,} tokens")


@neurons.command()
@click.argument("path", type=_FILE, metavar="INDEX.npz")
@click.argument("neuron", metavar="LAYER.NEURON")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True)
@Target.options()
@json_option
def show(path: Path, neuron: str, count: int, target: Target, as_json: bool) -> None:
    """Show what activates a neuron, and the tokens that its weights read and write.

    With --json: the record, in the fields of OpenAI's NeuronRecord.

    \b
    Example:
      gpt2edge neurons show index.npz 2.300
    """
    found = re.fullmatch(r"(\d+)\.(\d+)", neuron)
    if found is None:
        raise click.UsageError(f"{neuron!r} is no neuron; write LAYER.NEURON, such as 2.300.")
    layer, number = int(found[1]), int(found[2])
    index = _open(path, target)
    record = index.record(layer, number, count=count)
    if as_json:
        print_json(record.as_dict())
        return
    click.secho(f"L{layer}N{number}", bold=True)
    click.echo(
        f"mean {record.mean:.3f}, variance {record.variance:.3f}, above 0 on {record.fired:.1%} of "
        "tokens\n"
    )
    for excerpt in record.most_positive_activation_records:
        _print_excerpt(excerpt)
    weights = index.weights(layer, number)
    rows = [
        (kind, ", ".join(quoted(token) for token, _ in getattr(weights, kind)))
        for kind in ("positive_inputs", "negative_inputs", "positive_outputs", "negative_outputs")
    ]
    click.echo()
    print_table([("weights", "tokens"), *((kind.replace("_", " "), said) for kind, said in rows)])


@neurons.command()
@click.argument("path", type=_FILE, metavar="INDEX.npz")
@click.argument("word", metavar="WORD")
@Target.options()
@json_option
def find(path: Path, word: str, target: Target, as_json: bool) -> None:
    """Find the neurons whose top excerpts peak on WORD, one token such as " ship".

    \b
    Example:
      gpt2edge neurons find index.npz " ship"
    """
    index = _open(path, target)
    found = index.find(checked(word))
    if as_json:
        rows = [
            {"layer": layer, "neuron": neuron, "activation": value, "place": place}
            for layer, neuron, value, place in found
        ]
        print_json({"word": word, "neurons": rows})
        return
    table = [(f"L{layer}N{neuron}", f"{value:.2f}") for layer, neuron, value, _ in found]
    print_table([("neuron", "largest"), *table], right=(1,))


def _open(path: Path, target: Target) -> "NeuronIndex":
    from gpt2edge.inside import NeuronIndex

    return NeuronIndex.open(path, target.load().inside())


def _print_excerpt(excerpt: "ActivationRecord") -> None:
    """Print the tokens around the most active one, which is bold."""
    best = max(range(len(excerpt.tokens)), key=excerpt.activations.__getitem__)
    start = max(0, best - _AROUND)
    before = "".join(excerpt.tokens[start:best])
    after = "".join(excerpt.tokens[best + 1 : best + _AROUND])
    peak = click.style(f"[{excerpt.tokens[best]}]", bold=True)
    line = " ".join(f"{before}{peak}{after}".split())
    click.echo(f"{excerpt.activations[best]:7.2f}  {line}")
