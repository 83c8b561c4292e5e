"""Trees as text, drawn by rich on a terminal if it is installed, or as an HTML page."""

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from gpt2edge.cli.display.output import is_terminal
from gpt2edge.cli.help import OUTPUT, section

if TYPE_CHECKING:
    from gpt2edge.runtime.search import Node, Tree

html_option = section(OUTPUT)(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Save the tree as one self-contained HTML page.",
)


def show_tree(tree: "Tree", *, best: "Node | None" = None, err: bool = False) -> None:
    """Print the tree with its scores; rich draws the path to ``best`` in bold."""
    stream = sys.stderr if err else sys.stdout
    drawn = _drawn(tree, best) if is_terminal(stream) else None
    if drawn is None:
        from gpt2edge.runtime.search.trees.text import render_text

        click.echo(render_text(tree), err=err)
    else:
        _print(drawn, stream)


def save_page(tree: "Tree", path: Path, title: str, best: "Node | None" = None) -> None:
    """Write the page."""
    from gpt2edge._files import write_whole
    from gpt2edge.runtime.search.trees.html import render_html

    write_whole(path, render_html(tree, title=title, best=best))


def _print(drawn: Any, stream: IO[str]) -> None:
    from rich.console import Console

    # no_color None leaves NO_COLOR to rich
    Console(file=stream, highlight=False, emoji=False).print(drawn, soft_wrap=False)


def _drawn(tree: "Tree", best: "Node | None") -> Any:
    """Build a rich tree, or None if rich is not installed."""
    try:
        from rich.text import Text
        from rich.tree import Tree as RichTree
    except ImportError:
        return None
    from gpt2edge.runtime.search.trees.text import lines

    marked = {node.id for node in tree.path(best)} if best is not None else set()
    branches: list[RichTree] = []
    for line in lines(tree):
        label = Text()
        if line.repeat:
            label.append(f"see #{line.node.id}", style="dim")
        else:
            label.append(line.text, style="bold" if line.node.id in marked else "")
            label.append("  " + "  ".join([f"#{line.node.id}", *line.facts]), style="dim")
        depth = len(line.lasts)
        branch = branches[depth - 1].add(label) if depth else RichTree(label, guide_style="dim")
        branches[depth:] = [branch]
    return branches[0]
