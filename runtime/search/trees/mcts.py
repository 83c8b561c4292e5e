"""Monte Carlo tree search with UCT or PUCT, leaves evaluated in batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from gpt2edge._checks import check_float, check_one_of
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.search.arguments import check_arguments
from gpt2edge.runtime.search.budget import Budget
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.task import Task, tree_of
from gpt2edge.runtime.search.trees.tree import Node, Tree, TreeEdge, TreeResult


@dataclass(frozen=True, slots=True, kw_only=True)
class MCTS:
    """Monte Carlo tree search: select a leaf, evaluate it, back up its value.

    ``rule`` "uct" (Kocsis and Szepesvari 2006) selects the child of the largest
    Q + c sqrt(ln N / n), an unvisited one first; "puct" (Silver et al. 2017, AlphaGo Zero,
    after Rosin 2011) selects the child of the largest Q + c P sqrt(N) / (1 + n), where Q is
    ``first_play`` before the first visit: at 1, the largest possible value, all children of equal
    priors are visited once before any is visited twice. N counts the visits of the parent's edges,
    n those of the child's edge, Q is the mean of the values backed up through the child, P the
    prior. ``batch`` leaves are selected together, each with a virtual loss on its path, and
    evaluated together. With ``transpositions``, equal states of one level are one node. The search
    stops after ``simulations``, or at the first terminal state with a value of at least
    ``accept``.
    """

    simulations: int = 64
    rule: Literal["uct", "puct"] = "puct"
    c: float = math.sqrt(2)
    first_play: float = 1.0
    batch: int = 1
    max_depth: int = 32
    transpositions: bool = False
    accept: float = math.inf

    def __post_init__(self) -> None:
        check_arguments(self, simulations=1, batch=1, max_depth=1)
        check_one_of("rule", self.rule, ("uct", "puct"))
        for name in ("c", "first_play", "accept"):
            check_float(name, getattr(self, name), -math.inf, math.inf)

    def run(self, engine: Engine, task: Task, *, budget: Budget | None = None) -> TreeResult:
        """Search; ``best`` is the terminal state of the highest value, else the most visited."""
        work = SearchSession(engine, budget)
        tree = tree_of(task)
        tree.root.is_terminal = task.is_terminal(task.root)
        search = _TreeSearch(self, task, tree, work)
        with search.work:
            done = 0
            while done < self.simulations and not search.is_over():
                count = min(self.batch, self.simulations - done)
                search.simulate(count)
                done += count
        return TreeResult(
            best=_best(tree), tree=tree, cost=search.work.cost, stopped=search.work.stopped
        )


class _TreeSearch:
    """The state of one run: the tree, and its nodes by level and state."""

    def __init__(self, options: MCTS, task: Task, tree: Tree, work: SearchSession) -> None:
        self.work = work
        self._options = options
        self._task = task
        self._tree = tree
        self._seen: dict[tuple[int, str], Node] = {}
        self._accepted = False

    def is_over(self) -> bool:
        """Return whether a terminal state reached ``accept``."""
        if self._accepted:
            self.work.stopped = "decided"
        return self._accepted

    def simulate(self, count: int) -> None:
        """Select ``count`` leaves, then expand them in one batch and evaluate them in another."""
        self.work.check_time()
        paths = [self._descend([self._tree.root], first=True) for _ in range(count)]
        try:
            visited = [path[-1] for path in paths if self._wants_children(path[-1])]
            self._expand(list({node.id: node for node in visited}.values()))
            paths = [self._descend(path, first=False) for path in paths]
            leaves = {path[-1].id: path[-1] for path in paths if path[-1].value is None}
            self._evaluate(list(leaves.values()))
        except BaseException:  # these visits backed up no value: take them back
            self._undo(paths)
            raise
        for path in paths:
            value = path[-1].value
            assert value is not None
            for node in path:
                node.total += value

    def _undo(self, paths: Sequence[Sequence[Node]]) -> None:
        for path in paths:
            for node in path:
                node.visits -= 1
            for parent, child in pairwise(path):
                next(edge for edge in parent.children if edge.child == child.id).visits -= 1

    def _descend(self, path: list[Node], *, first: bool) -> list[Node]:
        """Extend the path to a node without children; count its visits now (virtual loss)."""
        if first:
            path[0].visits += 1
        while path[-1].children:
            edge = self._select(path[-1])
            node = self._tree.nodes[edge.child]
            edge.visits += 1
            node.visits += 1
            path.append(node)
        return path

    def _select(self, parent: Node) -> TreeEdge:
        total = sum(edge.visits for edge in parent.children)
        return max(parent.children, key=lambda edge: self._bound(edge, total))

    def _bound(self, edge: TreeEdge, total: int) -> float:
        options, mean = self._options, self._tree.nodes[edge.child].mean
        if options.rule == "uct":
            if not edge.visits:
                return math.inf
            return mean + options.c * math.sqrt(math.log(total) / edge.visits)
        mean = mean if edge.visits else options.first_play
        return mean + options.c * edge.prior * math.sqrt(max(1, total)) / (1 + edge.visits)

    def _wants_children(self, node: Node) -> bool:
        """Return whether to expand a leaf: it was evaluated on an earlier visit.

        The root is expanded at once: its value would influence no selection.
        """
        if node.is_terminal or node.is_expanded or node.depth >= self._options.max_depth:
            return False
        return node.value is not None or node.depth == 0

    def _expand(self, nodes: Sequence[Node]) -> None:
        if not nodes:
            return
        proposals = self._task.propose([node.state for node in nodes], self.work)
        for node, thoughts in zip(nodes, proposals, strict=True):
            node.is_expanded = True
            for thought in thoughts:
                key = (node.depth + 1, thought.state)
                known = self._seen.get(key) if self._options.transpositions else None
                if known is not None:
                    self._tree.link(node, known, thought.prior)
                    continue
                child = self._tree.add(node, thought.state, thought.text, thought.prior)
                child.is_terminal = self._task.is_terminal(thought.state)
                self._seen[key] = child

    def _evaluate(self, nodes: Sequence[Node]) -> None:
        if not nodes:
            return
        values = self._task.evaluate([node.state for node in nodes], self.work)
        for node, value in zip(nodes, values, strict=True):
            node.value = value
            self._accepted |= node.is_terminal and value >= self._options.accept


def _best(tree: Tree) -> Node:
    ends = [node for node in tree.nodes if node.is_terminal and node.value is not None]
    if ends:
        return max(ends, key=lambda node: node.value or 0.0)
    node = tree.root
    while any(edge.visits for edge in node.children):
        node = tree.nodes[max(node.children, key=lambda edge: edge.visits).child]
    return node
