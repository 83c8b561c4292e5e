"""Tree: the states that a search visited; can be saved, loaded and printed."""

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from gpt2edge._checks import check_float, check_int, check_path, check_text, shown
from gpt2edge._files import write_whole
from gpt2edge._text import text_of
from gpt2edge.errors import FileFormatError
from gpt2edge.runtime.search.budget import Cost, StopReason

FORMAT: Final = "gpt2edge-tree-1"


@dataclass(slots=True, kw_only=True)
class TreeEdge:
    """An edge from a node to its child: the policy's ``prior`` and the count of visits."""

    child: int
    prior: float = 1.0
    visits: int = 0


@dataclass(slots=True, kw_only=True)
class Node:
    """A state of the search, and the ``text`` that led to it from its first parent.

    ``value`` is the evaluation, ``total`` the sum of the values backed up over ``visits``.
    ``token_ids`` are the tokens of ``text`` in a tree of completions.
    """

    id: int
    state: str
    text: str
    depth: int = 0
    parent: int | None = None
    value: float | None = None
    visits: int = 0
    total: float = 0.0
    is_terminal: bool = False
    is_pruned: bool = False
    is_expanded: bool = False
    children: list[TreeEdge] = field(default_factory=list)
    token_ids: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Return the mean of the backed-up values, 0 before the first visit."""
        return self.total / self.visits if self.visits else 0.0


class Tree:
    """Nodes by number, the root first. A node may have several parents where states are shared."""

    def __init__(self, root: str) -> None:
        check_text("root", root)
        self.nodes = [Node(id=0, state=root, text=root)]

    def __repr__(self) -> str:
        return f"Tree({shown(self.root.state)}, nodes={len(self.nodes)})"

    @property
    def root(self) -> Node:
        """Return the state in which the search began."""
        return self.nodes[0]

    def add(self, parent: Node, state: str, text: str, prior: float = 1.0) -> Node:
        """Add a new child to ``parent`` and return it."""
        depth = parent.depth + 1
        node = Node(id=len(self.nodes), state=state, text=text, depth=depth, parent=parent.id)
        self.nodes.append(node)
        parent.children.append(TreeEdge(child=node.id, prior=prior))
        return node

    def link(self, parent: Node, child: Node, prior: float = 1.0) -> None:
        """Make an existing node a child of ``parent`` too. Raises ValueError for a cycle."""
        if child.depth != parent.depth + 1:
            raise ValueError(f"node {child.id} is not one level below node {parent.id}")
        parent.children.append(TreeEdge(child=child.id, prior=prior))

    def children(self, node: Node) -> list[Node]:
        """Return the children in the order in which they were proposed."""
        return [self.nodes[edge.child] for edge in node.children]

    def path(self, node: Node) -> list[Node]:
        """Return the nodes from the root to ``node``, by first parents."""
        path = [node]
        while path[-1].parent is not None:
            path.append(self.nodes[path[-1].parent])
        return path[::-1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tree as JSON."""
        write_whole(path, json.dumps(self.as_dict(), ensure_ascii=False) + "\n")

    def as_dict(self) -> dict[str, Any]:
        """Return the keys and values that ``save`` writes."""
        return {"format": FORMAT, "nodes": [asdict(node) for node in self.nodes]}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Tree":
        """Read a tree that ``save`` wrote. Raises FileFormatError for anything else."""
        check_path("path", path)
        try:
            value = json.loads(text_of(Path(path).read_bytes(), "it"))
            if value["format"] != FORMAT:
                raise ValueError(f"its format is {value['format']!r}, not {FORMAT!r}")
            tree = cls("")
            tree.nodes = [_node(keys) for keys in value["nodes"]]
            tree._check()
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FileFormatError(f"{os.fspath(path)} is not a saved tree: {error}") from None
        return tree

    def _check(self) -> None:
        for index, node in enumerate(self.nodes):
            links = [edge.child for edge in node.children]
            if node.id != index or any(not 0 < child < len(self.nodes) for child in links):
                raise ValueError(f"node {index} is out of order or has a child that does not exist")
            if any(self.nodes[child].depth != node.depth + 1 for child in links):
                raise ValueError(f"node {index} has a child that is not one level below it")
            if (node.parent is None) != (index == 0) or not (node.parent or 0) < max(index, 1):
                raise ValueError(f"node {index} has the parent {node.parent}")
        if not self.nodes:
            raise ValueError("it has no nodes")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeResult:
    """The result of a tree search: the best node, the tree and the cost."""

    best: Node
    tree: Tree
    cost: Cost
    stopped: StopReason = "done"

    @property
    def path(self) -> tuple[Node, ...]:
        """Return the nodes from the root to the best node."""
        return tuple(self.tree.path(self.best))


def _node(keys: dict[str, Any]) -> Node:
    """Return the node of a file's keys. Raises ValueError, KeyError or TypeError for others."""
    edges = [TreeEdge(**edge) for edge in keys["children"]]
    token_ids = tuple(check_int("a token id", item, 0, 2**31) for item in keys.get("token_ids", ()))
    node = Node(**{**keys, "children": edges, "token_ids": token_ids})
    if not isinstance(node.text, str) or not isinstance(node.state, str):
        raise ValueError(f"node {node.id} has no text")
    numbers = [node.total, *([] if node.value is None else [node.value])]
    counts = [node.id, node.depth, node.visits, *([] if node.parent is None else [node.parent])]
    for edge in edges:
        numbers.append(edge.prior)
        counts += [edge.child, edge.visits]
    for number in numbers:
        check_float(f"a number of node {node.id}", number, -math.inf, math.inf)
    for count in counts:
        check_int(f"a number of node {node.id}", count, 0, 2**31)
    return node
