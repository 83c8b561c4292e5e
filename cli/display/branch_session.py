"""The conversation of ``gpt2edge branch --interactive``, all of it on stderr."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gpt2edge.cli.display.output import aligned, counted, note
from gpt2edge.cli.display.progress import watched

if TYPE_CHECKING:
    from gpt2edge.runtime.search import Cost, Loom, Node

_ASK: Final = "number, [m]ore, [b]ack, [s]ave, [q]uit"


class BranchSession:
    """An interactive session over one tree."""

    def __init__(self, loom: "Loom", n: int, path: Path | None) -> None:
        self._loom = loom
        self._n = n
        self._path = path

    def run(self, node: "Node") -> "Node":
        """Ask until the user quits; return the node they were at."""
        while True:
            if not node.children and not node.is_terminal:
                self._branch(node)
            self._show(node)
            answer = self._ask()
            if answer == "q":
                return node
            node = self._follow(node, answer)

    def _follow(self, node: "Node", answer: str) -> "Node":
        """Return the node that an answer leads to."""
        children = self._loom.tree.children(node)
        if answer.isdecimal() and 1 <= int(answer) <= len(children):
            return children[int(answer) - 1]
        if answer == "b" and node.parent is not None:
            return self._loom.tree.nodes[node.parent]
        if answer == "m" and not node.is_terminal:
            self._branch(node)
        elif answer == "s":
            self._save()
        else:
            note(f"{answer!r} leads nowhere here: {_ASK}, numbers 1 to {len(children)}")
        return node

    def _branch(self, node: "Node") -> None:
        before = self._loom.cost
        with watched("growing the tree"):
            self._loom.branch([node], self._n)
        note(spent(self._loom.cost, before))

    def _show(self, node: "Node") -> None:
        from gpt2edge.runtime.search.trees.text import DrawnNode

        note(f"\n{node.state}" + ("  (the end)" if node.is_terminal else ""))
        children = zip(self._loom.tree.children(node), node.children, strict=True)
        rows = [
            (number, f"{edge.prior:.0%}", DrawnNode(child, edge.prior).text)
            for number, (child, edge) in enumerate(children, 1)
        ]
        note("\n".join(aligned(rows, right=(0, 1))))

    def _ask(self) -> str:
        try:
            answer: str = click.prompt(_ASK, prompt_suffix=" > ", err=True)
        except click.Abort:  # the end of stdin, or Ctrl-C
            note("")
            return "q"
        return answer.strip().lower()

    def _save(self) -> None:
        if self._path is None:
            self._path = Path(click.prompt("file", default="tree.json", err=True))
        try:
            self._loom.tree.save(self._path)
            note(f"saved to {self._path}")
        except OSError as error:  # the tree is still there, so they may try another place
            note(f"{self._path}: {error.strerror or error}")
            self._path = None


def spent(cost: "Cost", before: "Cost | None" = None) -> str:
    """Describe the cost of a step, or of all steps."""
    new, read, calls = cost.generated_tokens, cost.prefilled_tokens, cost.forward_calls
    if before is not None:
        new -= before.generated_tokens
        read -= before.prefilled_tokens
        calls -= before.forward_calls
    return f"{counted(new, 'new token')}, {read:,} read, in {counted(calls, 'call')}"
