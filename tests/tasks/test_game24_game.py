"""Game of 24: the checker, and an exhaustive evaluator that wins whatever can be won."""

from typing import Any

import pytest

from gpt2edge import Engine
from gpt2edge.errors import ArgumentError
from gpt2edge.runtime.search import MCTS, Budget, TreeOfThoughts
from tasks.game24.game import Game24, evaluate, is_solution

WINNABLE = [
    (4, 6, 8, 8),
    (1, 1, 4, 6),
    (3, 3, 8, 8),
    (1, 5, 5, 5),
    (4, 4, 10, 10),
    (1, 3, 4, 6),
    (2, 2, 10, 11),
    (6, 6, 6, 6),
    (5, 5, 5, 9),
    (1, 2, 7, 7),
    (3, 3, 7, 7),
    (2, 7, 8, 9),
]
LOST = [(1, 1, 1, 1), (1, 1, 1, 5), (7, 7, 7, 7)]


@pytest.mark.parametrize("order", ["bfs", "dfs"])
@pytest.mark.parametrize("numbers", WINNABLE)
def test_an_exact_evaluator_solves_every_puzzle(
    engine: Engine, numbers: tuple[int, ...], order: str
) -> None:
    search = TreeOfThoughts(order=order, breadth=1, threshold=0.5)  # type: ignore[arg-type]
    result = search.run(engine, Game24(numbers))
    assert is_solution(result.best.state, numbers)
    assert (result.stopped, result.best.depth) == ("decided", 3)
    assert [node.depth for node in result.path] == [0, 1, 2, 3]
    assert result.cost.forward_calls == result.cost.generated_tokens == 0
    assert result.cost.verifier_calls >= 3


@pytest.mark.parametrize("numbers", LOST)
def test_what_cannot_be_won_is_given_up(engine: Engine, numbers: tuple[int, ...]) -> None:
    result = TreeOfThoughts(order="dfs", threshold=0.5).run(engine, Game24(numbers))
    assert result.stopped == "done"
    assert not is_solution(result.best.state, numbers)
    assert all(node.is_pruned for node in result.tree.nodes[1:])


def test_mcts_wins_too(engine: Engine) -> None:
    for rule in ("uct", "puct"):
        search = MCTS(simulations=3000, rule=rule, accept=1.0, batch=8)
        result = search.run(engine, Game24((4, 6, 8, 8)))
        assert is_solution(result.best.state, (4, 6, 8, 8))
        assert result.stopped == "decided"


def test_a_deadline_in_a_search_without_a_model(engine: Engine) -> None:
    ticks = iter(range(10**6))
    budget = Budget(seconds=3, clock=lambda: float(next(ticks)))
    result = MCTS(simulations=500).run(engine, Game24((1, 1, 1, 1)), budget=budget)
    assert result.stopped == "seconds"
    assert result.tree.root.visits < 10


@pytest.mark.parametrize(
    ("expression", "right"),
    [
        ("(4 - 8 / 8) * 8", False),  # other numbers
        ("6 / (1 - 3 / 4)", True),
        (" 6/(1-3/4) ", True),
        ("6 * 4 * 1", False),  # a number is missing
        ("6 * 4 * 1 * 3 / 3", False),  # a number too many
        ("6 * 4", False),
        ("13 + 6 + 4 + 1", False),
        ("6 * 4 + (3 - 1) - 2", False),
        ("4 * 6 ** 1 - 3", False),
        ("4 * 6 // 1 + 3", False),
        ("__import__('os').getcwd()", False),
        ("6 * 4 if 1 else 3", False),
        ("6 / (1 - 3 / 4) # 24", False),
        ("6 / (3 - 3)", False),
        ("6 / (1 - 3 / 4", False),
        ("-6 + 30", False),
        ("6 4 1 3", False),
        ("24", False),
        ("", False),
        ("(" * 5000 + "6", False),
        ("６ / (1 - 3 / 4)", False),  # noqa: RUF001
    ],
)
def test_the_checker(expression: str, right: bool) -> None:
    assert is_solution(expression, (1, 3, 4, 6)) is right


def test_values_are_exact() -> None:
    assert str(evaluate("1 / 3 + 1 / 6")[0]) == "1/2"
    assert evaluate("(2 - 3 - 4) * 2")[0] == -10
    with pytest.raises(ValueError, match="division by zero"):
        evaluate("1 / 0")


@pytest.mark.parametrize("numbers", [None, 1, "a", b"a", {"a": 1}, {"a"}, object(), ["1"], [1.5]])
def test_numbers_of_a_wrong_type_are_refused_by_name(numbers: Any) -> None:
    with pytest.raises(ArgumentError, match="numbers"):
        Game24(numbers)
