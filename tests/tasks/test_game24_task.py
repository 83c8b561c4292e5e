"""Game of 24 by models of our own: the committed ones, and proposals that are written down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import GREEDY, Engine, RuntimeOptions
from gpt2edge.errors import ArgumentError
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.search import (
    MCTS,
    Budget,
    OutcomeModel,
    TreeOfThoughts,
)
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.line_beam import LineBeam, ScoredLine
from gpt2edge.runtime.search.trees.tree import TreeResult
from tasks.game24.notation import is_solved, prompt_of, read_step
from tasks.game24.task import WrittenGame24
from tests.conftest import ROOT

MODELS = ROOT / "training" / "models"
TEST = [(4, 5, 6, 10), (1, 2, 4, 7), (2, 5, 8, 11), (5, 8, 10, 11)]
"""The first puzzles of the test set."""


def load(name: str, folder: Path) -> Engine:
    model = export_checkpoint(MODELS / name, folder)
    return Engine(model.path, RuntimeOptions(threads=1))


@pytest.fixture(scope="module")
def solver(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return load("game24-0.1m", tmp_path_factory.mktemp("solver") / "onnx")


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return load("game24-value", tmp_path_factory.mktemp("values") / "onnx")


def written(result: TreeResult) -> str:
    return "".join(node.text for node in result.path[1:])


@pytest.mark.parametrize("numbers", TEST)
def test_a_model_of_a_tenth_of_a_million_solves_by_search(
    solver: Engine, values: Engine, numbers: tuple[int, ...]
) -> None:
    judge = OutcomeModel(values)
    searches = (
        TreeOfThoughts(breadth=5),
        MCTS(simulations=100, transpositions=True, accept=1.0, c=1.0, first_play=0.5, batch=4),
    )
    for search in searches:
        result = search.run(solver, WrittenGame24(numbers=numbers, values=judge))
        assert is_solved(numbers, written(result))
        assert (result.stopped, result.best.value) == ("decided", 1.0)
        assert result.cost.generated_tokens > 0
        assert result.cost.verifier_tokens == judge.reading.tokens
        judge = OutcomeModel(values)


def test_nothing_is_a_state_that_the_model_did_not_write(solver: Engine) -> None:
    moves = LineBeam(k=6, least=0.01)
    result = TreeOfThoughts(breadth=2).run(solver, WrittenGame24(numbers=TEST[0], moves=moves))
    tree = result.tree
    for node in tree.nodes:
        if not node.is_expanded:
            continue
        numbers = tuple(map(int, node.state.split()))
        (lines,) = moves([prompt_of(numbers)], SearchSession(solver))
        steps = [read_step(numbers, line.text) for line in lines]
        proposed = {" ".join(map(str, step.left)) for step in steps if step is not None}
        assert {child.state for child in tree.children(node)} <= proposed
        assert sum(edge.prior for edge in node.children) <= 1 + 1e-9
    states = [node.state for node in tree.nodes]
    assert len(set(states)) == len(states)  # equal positions are one node


def test_the_model_writes_lines_that_are_moves(solver: Engine) -> None:
    prompts = [prompt_of(numbers) for numbers in TEST]
    done = solver.generate_batch(prompts, max_new_tokens=34, sampling=GREEDY)
    for numbers, completion in zip(TEST, done, strict=True):
        assert read_step(numbers, completion.text.splitlines()[0]) is not None


def test_the_values_know_what_can_be_won(values: Engine) -> None:
    judge = OutcomeModel(values)
    won, lost = [(4, 6), (3, 8), (2, 12), (1, 24)], [(1, 1), (5, 7), (13, 13), (2, 9)]
    scores = {numbers: judge.score(prompt_of(numbers), [""])[0] for numbers in (*won, *lost)}
    assert min(scores[numbers] for numbers in won) > max(scores[numbers] for numbers in lost)


@dataclass(frozen=True)
class Written:
    """Proposals from a table."""

    table: Mapping[str, Sequence[tuple[str, float]]]

    def __call__(self, prompts: Sequence[str], work: SearchSession) -> list[list[ScoredLine]]:  # noqa: ARG002
        return [[ScoredLine(*line) for line in self.table.get(prompt, ())] for prompt in prompts]


def task(table: Mapping[str, Sequence[tuple[str, float]]]) -> WrittenGame24:
    return WrittenGame24(numbers=(8, 3, 1), moves=Written(table))  # type: ignore[arg-type]


def test_what_is_no_move_is_dropped_and_equal_states_are_joined(engine: Engine) -> None:
    lines = [
        ("8 * 3 = 24 (left: 1 24)\n", 0.4),
        ("8 * 3 = 25 (left: 1 25)\n", 0.3),  # wrong
        ("3 * 1 = 3 (left: 3 8)\n", 0.2),
        ("3 / 1 = 3 (left: 3 8)\n", 0.1),
        ("9 - 1 = 8 (left: 3 8)\n", 0.1),  # no such number
    ]
    game = task({"24: 1 3 8\n": lines})
    (thoughts,) = game.propose([game.root], SearchSession(engine))
    assert [(thought.state, thought.text) for thought in thoughts] == [
        ("1 24", lines[0][0]),
        ("3 8", lines[2][0]),
    ]
    assert [thought.prior for thought in thoughts] == pytest.approx([4 / 7, 3 / 7])
    assert game.evaluate(["1 24", "24", "3"], SearchSession(engine)) == [0.5, 1.0, 0.0]


def test_a_model_without_a_move_is_a_dead_end(engine: Engine) -> None:
    for search in (TreeOfThoughts(), MCTS(simulations=5)):
        result = search.run(engine, task({}), budget=Budget(seconds=60))
        assert len(result.tree.nodes) == 1
        assert result.best.state == "1 3 8"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("numbers", value) for value in (None, 1, "a", b"a", {"a": 1}, {"a"}, object(), ["1"])),
        *(("target", value) for value in (None, "1", [1], True, float("nan"), 1.5)),
        *(("values", value) for value in (1, "a")),
        *(("moves", value) for value in (None, 1, "a")),
    ],
)
def test_arguments_of_a_wrong_type_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=name):
        WrittenGame24(**{"numbers": (1, 2, 3, 4), name: value})
