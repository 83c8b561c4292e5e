"""Tree search: bandits, priors, equal states, saved trees, and texts that grow by steps."""

import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.errors import FileFormatError
from gpt2edge.runtime.search import (
    MCTS,
    Ask,
    Budget,
    PromptedThoughts,
    SampledSteps,
    SearchPrompt,
    SearchSession,
    Thought,
    Tree,
    TreeOfThoughts,
    Votes,
    WordValues,
)
from gpt2edge.runtime.search.trees.text import render_text
from gpt2edge.runtime.search.trees.tree import Node
from tasks.game24.game import Game24

WARM = SamplingParams(temperature=1.0, top_k=60, seed=5)
REQUEST = SearchPrompt(prompt="hello", sampling=WARM, max_new_tokens=24)


class Bandit:
    """Arms with many ends below each, which pay 1 with the arm's chance and 0 otherwise."""

    root = "root"

    def __init__(self, *chances: float, ends: int = 200, priors: Sequence[float] = ()) -> None:
        self._chances = chances
        self._ends = ends
        self._priors = priors or [1 / len(chances)] * len(chances)
        self._random = random.Random(7)
        self.batches: list[int] = []

    def is_terminal(self, state: str) -> bool:
        return "/" in state

    def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:  # noqa: ARG002
        arms = [Thought(str(arm), str(arm), prior) for arm, prior in enumerate(self._priors)]
        return [
            arms
            if state == "root"
            else [Thought(f"{state}/{end}", str(end), 1 / self._ends) for end in range(self._ends)]
            for state in states
        ]

    def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:  # noqa: ARG002
        self.batches.append(len(states))
        return [
            float(self._random.random() < self._chances[int(state.split("/")[0])])
            if "/" in state
            else 0.5
            for state in states
        ]


@pytest.mark.parametrize("batch", [1, 8])
def test_uct_finds_the_better_arm_and_descends(engine: Engine, batch: int) -> None:
    search = MCTS(simulations=300, rule="uct", batch=batch)
    result = search.run(engine, Bandit(0.3, 0.8))
    worse, better = result.tree.children(result.tree.root)
    assert better.visits > 4 * worse.visits
    assert better.mean == pytest.approx(0.8, abs=0.1)
    assert max(node.depth for node in result.tree.nodes if node.visits) == 2
    assert result.tree.root.visits == 300 == worse.visits + better.visits
    assert result.best.value == 1.0


def test_puct_with_equal_priors_tries_all_before_any_again(engine: Engine) -> None:
    arms = 12
    for count in (1, 5, 12):
        result = MCTS(simulations=count).run(engine, Bandit(*[0.5] * arms))
        visits = [node.visits for node in result.tree.children(result.tree.root)]
        assert visits == [1] * count + [0] * (arms - count)


def test_puct_follows_the_prior(engine: Engine) -> None:
    bandit = Bandit(0.5, 0.5, 0.5, priors=(0.1, 0.7, 0.2))
    first = MCTS(simulations=1).run(engine, bandit)
    assert [node.visits for node in first.tree.children(first.tree.root)] == [0, 1, 0]
    many = MCTS(simulations=200, first_play=0.5).run(engine, bandit)
    low, high, middle = [node.visits for node in many.tree.children(many.tree.root)]
    assert low < middle < high


def test_leaves_are_evaluated_in_batches(engine: Engine) -> None:
    bandit = Bandit(0.3, 0.8)
    MCTS(simulations=64, batch=16).run(engine, bandit)
    assert len(bandit.batches) == 4
    assert max(bandit.batches) > 8


def test_equal_states_are_one_node(engine: Engine) -> None:
    class Counter:
        root = "0"

        def is_terminal(self, state: str) -> bool:
            return int(state) >= 6

        def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:  # noqa: ARG002
            return [
                [Thought(str(int(state) + way % 2), "+", 0.25) for way in range(4)]
                if int(state) < 3
                else [Thought("6", "end", 1.0)]
                for state in states
            ]

        def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:  # noqa: ARG002
            return [0.5] * len(states)

    shared = MCTS(simulations=40, transpositions=True, max_depth=4).run(engine, Counter())
    keys = [(node.depth, node.state) for node in shared.tree.nodes]
    assert len(keys) == len(set(keys))
    alone = MCTS(simulations=40, max_depth=4).run(engine, Counter())
    assert len(alone.tree.nodes) > len(shared.tree.nodes)
    assert "see #" in render_text(shared.tree)
    breadth = TreeOfThoughts(max_depth=4).run(engine, Counter())
    assert len({node.state for node in breadth.tree.nodes}) == len(breadth.tree.nodes)


def test_a_tree_is_saved_read_and_drawn(engine: Engine, tmp_path: Path) -> None:
    result = TreeOfThoughts(breadth=2).run(engine, Game24((4, 6, 8, 8)))
    path = tmp_path / "tree.json"
    result.tree.save(path)
    again = Tree.load(path)
    assert again.nodes == result.tree.nodes
    assert render_text(again) == render_text(result.tree)
    lines = render_text(again).splitlines()
    assert lines[0].startswith("#0  4, 6, 8, 8")
    assert len(lines) >= len(again.nodes)
    assert lines[1].startswith("├── #1  4 + 6")
    assert any("pruned" in line for line in lines)
    assert any(line.endswith("end") for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": "other", "nodes": []}',
        '{"format": "gpt2edge-tree-1", "nodes": []}',
        '{"format": "gpt2edge-tree-1", "nodes": [{"id": 1}]}',
        '{"format": "gpt2edge-tree-1", "nodes": [{"id": 0, "state": "", "text": "", '
        '"children": [{"child": 0}]}]}',
        '{"format": "gpt2edge-tree-1", "nodes": [{"id": 0, "state": "", "text": "", '
        '"children": [{"child": 7}]}]}',
    ],
)
def test_what_is_no_tree_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tree.json"
    path.write_text(text)
    with pytest.raises(FileFormatError, match="is not a saved tree"):
        Tree.load(path)


def noise(_prompt: str, text: str) -> float:
    return zlib.crc32(text.encode()) / 2**32


def steps(engine: Engine, request: SearchPrompt = REQUEST, **knobs: Any) -> SampledSteps:
    return SampledSteps(
        engine=engine,
        request=request,
        verifier=noise,
        step=lambda text: len(text) >= 6,
        **knobs,
    )


@pytest.mark.parametrize(
    "search", [TreeOfThoughts(breadth=1), TreeOfThoughts(order="dfs"), MCTS(simulations=20)]
)
def test_one_branch_is_plain_sampling(engine: Engine, search: Any) -> None:
    task = steps(engine, branches=1)
    result = search.run(engine, task)
    plain = engine.generate("hello", max_new_tokens=24, sampling=WARM)
    assert result.best.is_terminal
    assert task.text(result.best.state) == plain.text


@pytest.mark.parametrize(
    "search",
    [
        TreeOfThoughts(breadth=2),
        TreeOfThoughts(order="dfs", threshold=0.2),
        MCTS(simulations=30, batch=4),
        MCTS(simulations=30, rule="uct"),
    ],
)
def test_texts_grow_without_computing_a_prefix_twice(engine: Engine, search: Any) -> None:
    result = search.run(engine, steps(engine, branches=3))
    assert result.cost.prefilled_tokens == len(engine.encode("hello"))
    ends = [node for node in result.tree.nodes if node.is_terminal]
    assert result.best in ends or not ends
    for node in result.tree.nodes:
        family = result.tree.children(node)
        assert sum(edge.prior for edge in node.children) == pytest.approx(1) or not family
        assert all(child.state.startswith(node.state.rstrip("\ufffd")) for child in family)
    again = search.run(engine, steps(engine, branches=3))
    assert again.tree.nodes == result.tree.nodes


def test_the_best_so_far(engine: Engine) -> None:
    for search in (TreeOfThoughts(), MCTS()):
        result = search.run(engine, steps(engine), budget=Budget(tokens=60))
        assert result.stopped == "tokens"
        assert result.cost.generated_tokens <= 60
        assert result.best.value is not None

    calls: list[str] = []

    def impatient(_prompt: str, text: str) -> float:
        calls.append(text)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return noise("", text)

    task = steps(engine)
    task.verifier = impatient
    result = MCTS().run(engine, task)
    assert result.stopped == "interrupted"
    assert result.best.value in {noise("", text) for text in calls[:5]}
    assert result.tree.root.visits == 5 == sum(edge.visits for edge in result.tree.root.children)


def test_thoughts_by_prompt(engine: Engine) -> None:
    ask = Ask(n=4, max_new_tokens=6, sampling=replace(WARM, temperature=1.3))
    task = PromptedThoughts(
        root="hello",
        prompt=lambda state: state,
        read=lambda state, text: [f"{state}{text[:1]}"] if text else [],
        ends=lambda state: len(state) >= 8,
        values=WordValues(prompt=lambda state: state, words={"e": 2.0, "o": 1.0}, ask=ask),
        ask=ask,
    )
    result = TreeOfThoughts(breadth=2, accept=1e9).run(engine, task)
    assert len(result.best.state) == 8
    assert result.cost.generated_tokens > 0
    again = TreeOfThoughts(breadth=2, accept=1e9).run(engine, task)
    assert again.tree.nodes == result.tree.nodes

    work = SearchSession(engine)
    votes = Votes(prompt="".join, read=lambda text: len(text) % 3, ask=Ask(n=5, max_new_tokens=4))
    shares = votes(["a", "b", "c"], work)
    assert sum(shares) == pytest.approx(1)
    words = WordValues(prompt=lambda state: state, words={"": 1.0}, ask=Ask(n=3, max_new_tokens=2))
    assert words(["a"], work) == [3.0]


@pytest.mark.parametrize(
    ("strategy", "knobs", "message"),
    [
        (TreeOfThoughts, {"order": "best"}, "order is 'best'"),
        (TreeOfThoughts, {"breadth": 0}, "breadth is 0"),
        (MCTS, {"rule": "ucb"}, "rule is 'ucb'"),
        (MCTS, {"simulations": 0}, "simulations is 0"),
    ],
)
def test_bad_knobs(strategy: Any, knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        strategy(**knobs)


def test_mean_is_what_came_back_over_the_visits() -> None:
    assert Node(id=0, state="", text="", visits=4, total=3.0).mean == 0.75
    assert Node(id=0, state="", text="").mean == 0
