"""Loom: a tree of completions that branch on request (a "multiverse" of texts)."""

import math
from collections.abc import Sequence
from itertools import pairwise

from gpt2edge._checks import check_int, check_list, check_optional, check_type
from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.decoding.request import Prompt
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.search.budget import Budget, Cost, StopReason
from gpt2edge.runtime.search.candidates import default_sampling
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.tree import Node, Tree, TreeEdge


class Loom:
    """A tree of continuations that grows at the nodes the caller chooses.

    A node's ``text`` is a piece of up to ``tokens`` tokens, its ``state`` the whole text up to its
    end, its ``value`` the geometric mean of the model's probabilities of its tokens. The prior of
    an edge is the probability of its piece divided by the sum over all siblings. Equal pieces are
    one node, with one visit of its edge for each.

    Prefixes stay in the cache: a branch reads one token, the last of the text before it, and then
    costs its new tokens. Sample j below the node with child indices (a, b, ...) has the random
    stream (seed, a, b, ..., j): the first pieces are the beginnings of a batch's samples, and a
    saved tree continues exactly as an unsaved one.
    """

    def __init__(
        self,
        engine: Engine,
        prompt: Prompt = "",
        *,
        tokens: int = 16,
        sampling: SamplingParams | None = None,
        tree: Tree | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._work = SearchSession(engine, budget)
        self._engine = engine
        self.tokens = check_int("tokens", tokens, 1, engine.config.n_positions)
        self._sampling = default_sampling(engine) if sampling is None else sampling
        check_type("sampling", self._sampling, SamplingParams, "SamplingParams, or None")
        check_optional("tree", tree, Tree, "a Tree")
        if self._sampling.is_greedy:
            raise ValueError(
                "greedy continuations would all be the same: give a temperature above 0"
            )
        self.tree = self._planted(prompt) if tree is None else self._checked(tree)

    def __repr__(self) -> str:
        return f"Loom({self.tree!r}, tokens={self.tokens})"

    @property
    def cost(self) -> Cost:
        """Return the cost of all branches so far."""
        return self._work.cost

    @property
    def stopped(self) -> StopReason:
        """Return why the last branching ended early, or "done"."""
        return self._work.stopped

    def branch(self, nodes: Sequence[Node], n: int = 3) -> list[Node]:
        """Decode ``n`` continuations of each of ``nodes`` together; return the new nodes.

        Nodes that are complete, or whose context is full, get none. Where the budget ends or
        Ctrl-C is pressed, incomplete pieces are left out.
        """
        check_int("n", n, 1, 1024)
        for node in check_list("nodes", nodes, "a list of nodes"):
            check_type("nodes", node, Node, "a list of nodes")
        open_nodes = [node for node in nodes if not node.is_terminal]
        families = {node.id: self._draws(node, n) for node in open_nodes}
        before = len(self.tree.nodes)
        self._work.stopped = "done"
        with self._work:
            every = [generation for family in families.values() for generation in family]
            for _ in self._work.grow(every, self._is_whole):
                pass
        for node in open_nodes:
            for generation in families[node.id]:
                if generation.finish_reason or self._is_whole(generation):
                    self._add(node, generation)
            self._share(node)
        return self.tree.nodes[before:]

    def grow(self, node: Node, *, n: int = 3, depth: int = 1) -> list[Node]:
        """Branch ``node`` and its new descendants for ``depth`` levels; return all new nodes."""
        check_type("node", node, Node, "a node of the tree")
        level, grown = [node], []
        for _ in range(check_int("depth", depth, 1, 64)):
            level = self.branch(level, n)
            grown += level
            if self.stopped != "done":
                break
        return grown

    def _planted(self, prompt: Prompt) -> Tree:
        token_ids = self._engine.encode(prompt)
        text = prompt if isinstance(prompt, str) else self._work.tokenizer.decode(token_ids)
        tree = Tree(text)
        tree.root.token_ids = tuple(token_ids)
        return tree

    def _checked(self, tree: Tree) -> Tree:
        """Return ``tree`` if its texts match its tokens under this model's tokenizer."""
        for node in tree.nodes:
            if not node.token_ids:
                raise Gpt2EdgeError(
                    "this tree has no token ids: continue a tree that branch has made"
                )
            if not self._says(tree, node):
                raise Gpt2EdgeError(
                    f"node {node.id} of this tree is of another model's tokenizer: load the model "
                    "that made the tree"
                )
        return tree

    def _says(self, tree: Tree, node: Node) -> bool:
        """Return whether the tokens up to ``node`` decode to its text."""
        token_ids = self._token_ids(tree, node)
        if max(token_ids) >= self._engine.config.vocab_size:
            return False
        if node.parent is not None:
            return self._text(tree, token_ids).startswith(node.state)
        # A special token spelled in a prompt decodes to nothing; an empty prompt has one token.
        return self._work.tokenizer.decode(token_ids) == node.text or (
            self._engine.encode(node.text) == token_ids
        )

    def _text(self, tree: Tree, token_ids: Sequence[int]) -> str:
        """Return the prompt and the text of the tokens after it."""
        own = token_ids[len(tree.root.token_ids) :]
        return tree.root.text + self._work.tokenizer.decode(own)

    def _token_ids(self, tree: Tree, node: Node) -> list[int]:
        return [token_id for item in tree.path(node) for token_id in item.token_ids]

    def _draws(self, node: Node, n: int) -> list[Generation]:
        """Return ``n`` generations below ``node``, not yet started."""
        token_ids = self._token_ids(self.tree, node)
        room = self._engine.config.n_positions - len(token_ids) + 1
        if room < 1:
            node.is_terminal = True
            return []
        request = self._engine.request(
            token_ids,
            sampling=self._sampling,
            max_new_tokens=min(room, self.tokens + 1),
            logprobs=0,
        )
        (first,) = request.generations
        done = sum(edge.visits for edge in node.children)
        places = self._places(node)
        return [first.fork((*places, number)) for number in range(done, done + n)]

    def _places(self, node: Node) -> list[int]:
        """Return the child index at each level from the root to ``node``."""
        path = self.tree.path(node)
        return [
            next(i for i, edge in enumerate(parent.children) if edge.child == child.id)
            for parent, child in pairwise(path)
        ]

    def _is_whole(self, generation: Generation) -> bool:
        return len(generation.token_ids) >= self.tokens

    def _add(self, parent: Node, generation: Generation) -> None:
        token_ids = tuple(generation.token_ids)
        for edge in parent.children:
            if self.tree.nodes[edge.child].token_ids == token_ids:
                edge.visits += 1
                return
        ended = generation.finish_reason is not None
        path = [*self._token_ids(self.tree, parent), *token_ids]
        text = self._text(self.tree, path)
        state = text if ended else text.rstrip("\ufffd")  # the rest of a character may follow
        node = self.tree.add(parent, state, state[len(parent.state) :])
        node.token_ids, node.is_terminal = token_ids, ended
        node.value = math.exp(math.fsum(generation.logprobs) / len(token_ids))
        parent.children[-1].visits = 1

    def _share(self, parent: Node) -> None:
        """Set the priors of the edges: the probability of each piece over the sum of all."""
        logprobs = [self._logprob(edge) for edge in parent.children]
        top = max(logprobs, default=0.0)
        mass = math.fsum(math.exp(logprob - top) for logprob in logprobs)
        for edge, logprob in zip(parent.children, logprobs, strict=True):
            edge.prior = math.exp(logprob - top) / mass

    def _logprob(self, edge: TreeEdge) -> float:
        node = self.tree.nodes[edge.child]
        return len(node.token_ids) * math.log(max(node.value or 0.0, 1e-300))
