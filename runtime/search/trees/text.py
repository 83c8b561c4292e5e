"""A tree as lines: the lines that every view shows, and the view in plain text."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gpt2edge.runtime.search.trees.tree import Node, Tree

_WIDTH: Final = 60


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A node as drawn below one of its parents.

    ``lasts`` has a flag for each level down to the node: true where its ancestor there is the last
    sibling. ``prior`` is that of the edge to it. A node of several parents is drawn in full the
    first time, and is a ``repeat`` elsewhere.
    """

    node: Node
    prior: float
    lasts: tuple[bool, ...] = ()
    repeat: bool = False

    @property
    def text(self) -> str:
        """Return the node's text on one line, control characters escaped, long text shortened."""
        text = "".join(map(_visible, self.node.text))
        return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"

    @property
    def facts(self) -> list[str]:
        """Return the probability, value, visits, and the marks "end" and "pruned"."""
        node = self.node
        facts = [f"p {self.prior:.3g}"] if self.prior != 1 else []
        if node.value is not None:
            facts.append(f"value {node.value:.4g}")
        if node.visits:
            facts.append(f"visits {node.visits}, mean {node.mean:.3g}")
        return facts + ["end"] * node.is_terminal + ["pruned"] * node.is_pruned


def lines(tree: Tree) -> Iterator[DrawnNode]:
    """Yield the nodes from the root on, each before its children."""
    waiting = [DrawnNode(tree.root, 1.0)]
    drawn: set[int] = set()
    while waiting:
        line = waiting.pop()
        if line.node.id in drawn:
            line = replace(line, repeat=True)
        drawn.add(line.node.id)
        yield line
        edges = [] if line.repeat else line.node.children
        for index in reversed(range(len(edges))):
            edge, lasts = edges[index], (*line.lasts, index == len(edges) - 1)
            waiting.append(DrawnNode(tree.nodes[edge.child], edge.prior, lasts))


def render_text(tree: Tree) -> str:
    """Return the tree in plain text, one line per node."""
    return "\n".join(_branches(line.lasts) + _label(line) for line in lines(tree))


def _branches(lasts: tuple[bool, ...]) -> str:
    if not lasts:
        return ""
    stems = "".join("    " if last else "│   " for last in lasts[:-1])
    return stems + ("└── " if lasts[-1] else "├── ")


def _label(line: DrawnNode) -> str:
    if line.repeat:
        return f"see #{line.node.id}"
    return "  ".join([f"#{line.node.id}", line.text, *line.facts])


def _visible(character: str) -> str:
    """Escape a character that a terminal would obey: cursor moves, text direction, backslashes."""
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
