"""A tree as lines: what every view of it shows, and the view in plain text."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from gpt2edge.runtime.search.trees.tree import Node, Tree

_WIDTH: Final = 60


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A node in its place below a parent.

    ``lasts`` says of each level down to it whether it is the last there; ``prior`` is that of the
    edge to it. A node of several parents is drawn in full where it comes first, and is a
    ``repeat`` elsewhere.
    """

    node: Node
    prior: float
    lasts: tuple[bool, ...] = ()
    repeat: bool = False

    @property
    def text(self) -> str:
        """The node's text on one line, control characters escaped, cut where it is long."""
        text = "".join(map(_visible, self.node.text))
        return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"

    @property
    def facts(self) -> list[str]:
        """Probability, value, visits, and whether it is an end or was pruned."""
        node = self.node
        facts = [f"p {self.prior:.3g}"] if self.prior != 1 else []
        if node.value is not None:
            facts.append(f"value {node.value:.4g}")
        if node.visits:
            facts.append(f"visits {node.visits}, mean {node.mean:.3g}")
        return facts + ["end"] * node.is_terminal + ["pruned"] * node.is_pruned


def lines(tree: Tree) -> Iterator[DrawnNode]:
    """The nodes from the root on, each before its children."""
    waiting = [DrawnNode(tree.root, 1.0)]
    drawn: set[int] = set()
    while waiting:
        line = waiting.pop()
        if line.node.id in drawn:
            line = replace(line, repeat=True)
        drawn.add(line.node.id)
        yield line
        edges = [] if line.repeat else line.node.children
        for place in reversed(range(len(edges))):
            edge, lasts = edges[place], (*line.lasts, place == len(edges) - 1)
            waiting.append(DrawnNode(tree.nodes[edge.child], edge.prior, lasts))


def render_text(tree: Tree) -> str:
    """The tree in plain text, a line a node."""
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
    """A character as a terminal may show it: none moves the cursor or turns the text around."""
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
