"""Tree of Thoughts: breadth-first and depth-first search (Yao et al. 2023, arXiv 2305.10601)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpt2edge._checks import check_float, check_one_of
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.search.arguments import check_arguments
from gpt2edge.runtime.search.budget import Budget
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.task import Task, tree_of
from gpt2edge.runtime.search.trees.tree import Node, Tree, TreeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOfThoughts:
    """Tree of Thoughts: propose, evaluate, select; algorithms 1 and 2 of the paper.

    ``order`` "bfs" keeps the ``breadth`` best states of each level; "dfs" follows the best child
    first and backtracks at a dead end or where no value reaches ``threshold``. A state proposed
    again under any parent of its level is evaluated and expanded once. The search stops at the
    first terminal state with a value of at least ``accept``, after ``max_depth`` levels or
    ``max_nodes`` states.
    """

    order: Literal["bfs", "dfs"] = "bfs"
    breadth: int = 5
    max_depth: int = 16
    max_nodes: int = 10_000
    threshold: float = 0.0
    accept: float = 1.0

    def __post_init__(self) -> None:
        check_arguments(self, breadth=1, max_depth=1, max_nodes=1)
        check_one_of("order", self.order, ("bfs", "dfs"))
        for name in ("threshold", "accept"):
            check_float(name, getattr(self, name), -math.inf, math.inf)

    def run(self, engine: Engine, task: Task, *, budget: Budget | None = None) -> TreeResult:
        """Search; ``best`` is the terminal state of the highest value, else the best state.

        States below the threshold stay in the tree, marked as pruned.
        """
        work = SearchSession(engine, budget)
        tree = tree_of(task)
        search = _ThoughtSearch(self, task, tree, work)
        with search.work:
            search.breadth_first() if self.order == "bfs" else search.depth_first()
        return TreeResult(
            best=best_of(tree),
            tree=tree,
            cost=search.work.cost,
            stopped=search.work.stopped,
        )


class _ThoughtSearch:
    """The state of one run: the tree, and its nodes by state."""

    def __init__(
        self, options: TreeOfThoughts, task: Task, tree: Tree, work: SearchSession
    ) -> None:
        self.work = work
        self._options = options
        self._task = task
        self._tree = tree
        self._seen = {tree.root.state: tree.root}
        self._accepted = False

    def breadth_first(self) -> None:
        """Search level by level, all states of a level in one batch."""
        frontier = [self._tree.root]
        while not self._is_over() and frontier:
            children = self._expand(frontier)
            going = [node for node in children if not (node.is_terminal or node.is_pruned)]
            going.sort(key=_value, reverse=True)
            for node in going[self._options.breadth :]:
                node.is_pruned = True
            frontier = self._expandable(going[: self._options.breadth])

    def depth_first(self) -> None:
        """Search the best child first, the children of one state in one batch."""
        stack = [self._tree.root]
        while not self._is_over() and stack:
            children = self._expand([stack.pop()])
            going = [node for node in children if not (node.is_terminal or node.is_pruned)]
            stack += self._expandable(sorted(going, key=_value, reverse=True))[::-1]

    def _expand(self, nodes: Sequence[Node]) -> list[Node]:
        """Add the new children of ``nodes``, evaluate and return them."""
        self.work.check_time()
        proposals = self._task.propose([node.state for node in nodes], self.work)
        fresh: list[Node] = []
        for node, thoughts in zip(nodes, proposals, strict=True):
            node.is_expanded = True
            for thought in thoughts:
                known = self._seen.get(thought.state)
                if known is None:
                    child = self._tree.add(node, thought.state, thought.text, thought.prior)
                    child.is_terminal = self._task.is_terminal(thought.state)
                    self._seen[thought.state] = child
                    fresh.append(child)
                elif known.depth == node.depth + 1:
                    self._tree.link(node, known, thought.prior)
        values = self._task.evaluate([node.state for node in fresh], self.work) if fresh else []
        for node, value in zip(fresh, values, strict=True):
            node.value = value
            node.is_pruned = value < self._options.threshold
            self._accepted |= node.is_terminal and value >= self._options.accept
        return fresh

    def _is_over(self) -> bool:
        if self._accepted:
            self.work.stopped = "decided"
        return self._accepted or len(self._tree.nodes) >= self._options.max_nodes

    def _expandable(self, nodes: Sequence[Node]) -> list[Node]:
        return [node for node in nodes if node.depth < self._options.max_depth]


def best_of(tree: Tree) -> Node:
    """Return the terminal node of the highest value, or else the deepest of the best states.

    Of equal nodes the oldest is returned.
    """
    ends = [node for node in tree.nodes if node.is_terminal and node.value is not None]
    if ends:
        return max(ends, key=_value)
    valued = [node for node in tree.nodes if node.value is not None and not node.is_pruned]
    return max(valued, key=lambda node: (_value(node), node.depth), default=tree.root)


def _value(node: Node) -> float:
    return node.value if node.value is not None else float("-inf")
