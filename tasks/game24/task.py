"""Game of 24 with models: one proposes the moves, another evaluates the positions."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpt2edge._checks import argument_error, check_int, check_list
from gpt2edge.runtime.search.arguments import check_verifier
from gpt2edge.runtime.search.search_session import SearchSession
from gpt2edge.runtime.search.trees.line_beam import LineBeam
from gpt2edge.runtime.search.trees.task import Thought
from gpt2edge.runtime.search.verifiers.verifier import Verifier, score_all
from tasks.game24.notation import prompt_of, read_step


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenGame24:
    """A puzzle for tree search with a model that writes steps, as ``notation`` has them.

    A state is the list of remaining numbers, in ascending order: "4 6 8 8". The model reads it as
    a new puzzle, so that equal positions are one state and no wrong step stays in the context. All
    moves come from the model, in its order; a line that is not a move is dropped. ``values``
    scores the state's prompt; without it, all states have the value 0.5. A terminal state has the
    value 1 if it is the target, else 0.
    """

    numbers: tuple[int, ...]
    values: Verifier | None = None
    target: int = 24
    moves: LineBeam = field(default_factory=lambda: LineBeam(k=24, least=1e-3))

    def __post_init__(self) -> None:
        for number in check_list("numbers", self.numbers, "a tuple of whole numbers"):
            check_int("numbers", number, -(2**63), 2**63, part="a number in ")
        check_int("target", self.target, -(2**63), 2**63)
        if not callable(self.moves):
            raise argument_error("moves", self.moves, "a LineBeam")
        if self.values is not None:
            check_verifier("values", self.values)

    @property
    def root(self) -> str:
        """Return the numbers."""
        return _state(self.numbers)

    def is_terminal(self, state: str) -> bool:
        """Return whether one number is left."""
        return " " not in state

    def propose(self, states: Sequence[str], work: SearchSession) -> list[list[Thought]]:
        """Return the model's moves from each state; moves to the same state are one thought."""
        lines = self.moves([self._prompt(state) for state in states], work)
        thoughts = []
        for state, written in zip(states, lines, strict=True):
            moves: dict[str, tuple[str, float]] = {}
            for line in written:
                step = read_step(_numbers(state), line.text)
                if step is not None:
                    text, mass = moves.get(_state(step.left), (step.text, 0.0))
                    moves[_state(step.left)] = (text, mass + line.probability)
            total = sum(mass for _, mass in moves.values())
            thoughts.append([Thought(s, text, mass / total) for s, (text, mass) in moves.items()])
        return thoughts

    def evaluate(self, states: Sequence[str], work: SearchSession) -> list[float]:
        """Return the value model's score; for a terminal state 1 if it is the target, else 0."""
        asked = [state for state in states if not self.is_terminal(state)]
        values = dict.fromkeys(asked, 0.5)
        if self.values is not None and asked:
            with work.verifying(self.values, len(asked)):
                for state in asked:
                    (values[state],) = score_all(self.values, self._prompt(state), [""])
        return [values.get(state, float(state == str(self.target))) for state in states]

    def _prompt(self, state: str) -> str:
        return prompt_of(_numbers(state), self.target)


def _numbers(state: str) -> tuple[int, ...]:
    return tuple(map(int, state.split()))


def _state(numbers: Sequence[int]) -> str:
    return " ".join(map(str, sorted(numbers)))
