"""Printing what is inside a model: the lens as a table, attention, attribution, importance."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.display.output import print_table, quoted

if TYPE_CHECKING:
    from gpt2edge.inside.report import Cell, Report

_CELL: Final = 9
_LABEL: Final = 6
_LIKELY, _UNLIKELY = 0.5, 0.1
_SHOWN: Final = 12
"""Parts of an attribution."""


def print_lens(report: "Report", width: int) -> None:
    """Print the lens in blocks that fit ``width``, the newest layer on top, and what comes next."""
    count = max(1, (width - _LABEL) // (_CELL + 1))
    for start in range(0, len(report.tokens), count):
        if start:
            click.echo()
        _print_block(report, start, min(start + count, len(report.tokens)))
    if report.tied:
        click.secho(
            '("embed" is near the input itself: input and output share one matrix)', dim=True
        )
    click.echo()
    last = report.cells[-1][-1]
    likeliest = ", ".join(
        f"{quoted(token)} {prob:.3f}" for token, prob in zip(last.tokens, last.probs, strict=True)
    )
    click.echo(f"next: {likeliest}")
    if report.target is not None:
        ranks = zip(report.layers, report.target_ranks, strict=True)
        path = ", ".join(f"{layer} {rank:,}" for layer, rank in ranks)
        click.echo(f"rank of {quoted(report.target)}, from 0: {path}")


def _print_block(report: "Report", start: int, end: int) -> None:
    from gpt2edge.inside.words import fitted, visible

    for label, cells in reversed(list(zip(report.layers, report.cells, strict=True))):
        click.echo(f"{label:>{_LABEL - 1}} ", nl=False)
        click.echo(" ".join(_styled(cell) for cell in cells[start:end]).rstrip())
    click.echo(f"{'token':>{_LABEL - 1}} ", nl=False)
    words = [fitted(visible(token), _CELL) for token in report.tokens[start:end]]
    click.secho(" ".join(words).rstrip(), underline=True)


def _styled(cell: "Cell") -> str:
    """Return a cell's likeliest token; bold where it is likely, dim where it is not."""
    from gpt2edge.inside.words import fitted, visible

    text = fitted(visible(cell.tokens[0]), _CELL)
    return click.style(text, bold=cell.probs[0] > _LIKELY, dim=cell.probs[0] < _UNLIKELY)


def print_attended(
    tokens: Sequence[str],
    attended: Sequence[Sequence[tuple[str, float]]],
    head: tuple[int, int],
) -> None:
    """Print, for each token, those that a head looks at most."""
    click.echo()
    rows = [
        (quoted(token), ", ".join(f"{quoted(seen)} {share:.2f}" for seen, share in best))
        for token, best in zip(tokens, attended, strict=True)
    ]
    print_table([(f"layer {head[0]} head {head[1]}", "looks at"), *rows])


def print_heads(heads: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Print the head of each kind that is most of it, and all scores."""
    click.echo()
    kinds = list(heads)
    layers = range(len(heads[kinds[0]]))
    rows = [
        (f"L{layer}H{head}", *(f"{heads[kind][layer][head]:.2f}" for kind in kinds))
        for layer in layers
        for head in range(len(heads[kinds[0]][layer]))
    ]
    titles = [kind.replace("_", " ") for kind in kinds]
    print_table([("head", *titles), *rows], right=range(1, len(kinds) + 1))


def print_attribution(token: Callable[[int], str], found: Mapping[str, Any]) -> None:
    """Print the parts of the model that added most to a token's logit."""
    click.echo()
    parts = sorted(
        zip(found["labels"], found["attribution"], strict=True), key=lambda each: -abs(each[1])
    )
    name = quoted(token(found["token_id"]))
    rows = [(label, f"{value:+.2f}") for label, value in parts[:_SHOWN]]
    rest = sum(value for _, value in parts[_SHOWN:])
    rows += [("all others", f"{rest:+.2f}"), ("bias", f"{found['bias']:+.2f}")]
    print_table(
        [("part", f"logit of {name}"), *rows, ("sum", f"{found['logit']:+.2f}")], right=(1,)
    )


def print_importance(found: Mapping[str, Any]) -> None:
    """Print how much each token of the prompt mattered."""
    click.echo()
    rows = [
        (quoted(token), f"{nats:+.2f}")
        for token, nats in zip(found["tokens"], found["nats"], strict=True)
    ]
    print_table([("without", f"nats that {quoted(found['target'])} loses"), *rows], right=(1,))
