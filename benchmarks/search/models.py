"""stepmath for the search benchmarks: the models of its family, and its test problems."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpt2edge import Engine, RuntimeOptions, SamplingParams
from gpt2edge.runtime.search import OutcomeModel, ProcessModel
from tasks.stepmath.problems import heldout_problems

ORM, PRM = "stepmath-outcome", "stepmath-process"
SIZED: Final = re.compile(r"stepmath-[0-9.]+m")
EQUATION: Final = re.compile(r"\d{1,2}\. (\d{1,9}) ([-+*/]) (\d{1,9}) = (\d{1,9})", re.ASCII)
STEP: Final = "\n"
LONGEST: Final = 128
"""New tokens of a solution; the longest that a problem needs are fewer."""


@dataclass(frozen=True)
class Problem:
    """A prompt, and the answer in canonical form."""

    number: int
    prompt: str
    answer: str

    def sampling(self, temperature: float) -> SamplingParams:
        """The same random stream for every method and model."""
        return SamplingParams(temperature=temperature, seed=1000 + self.number)


@dataclass(frozen=True)
class Family:
    """Generators by name, the smallest first, and the verifiers, all in one folder of models."""

    folder: Path
    generators: tuple[str, ...]
    orm: str | None
    prm: str | None

    @classmethod
    def found(cls, folder: Path) -> "Family":
        """What ``training/solvers/export.py`` wrote. Raises SystemExit where that is not there."""
        names = {path.name for path in folder.glob("stepmath-*")}
        generators = sorted((name for name in names if SIZED.fullmatch(name)), key=_size)
        if not generators:
            raise SystemExit(
                f"{folder} does not hold stepmath: python -m training.solvers.export {folder}"
            )
        orm, prm = (name if name in names else None for name in (ORM, PRM))
        return cls(folder, tuple(generators), orm, prm)

    def engine(self, name: str, threads: int) -> Engine:
        """A model of the family."""
        return Engine(self.folder / name, RuntimeOptions(threads=threads))

    def outcome_model(self, threads: int) -> OutcomeModel:
        """The outcome reward model."""
        return OutcomeModel(self.engine(ORM, threads))

    def process_model(self, threads: int) -> ProcessModel:
        """The process reward model."""
        return ProcessModel(self.engine(PRM, threads))


class Calculator:
    """Checks the arithmetic of each step as a pocket calculator does, without reading the problem.

    1 for an equation that holds and for an answer that is the last equation's result, else 0.
    """

    def score_steps(self, prompt: str, solutions: Sequence[Sequence[str]]) -> list[list[float]]:  # noqa: ARG002
        """One number a step."""
        return [list(self._scores(steps)) for steps in solutions]

    def _scores(self, steps: Sequence[str]) -> Iterator[float]:
        result = None
        for step in steps:
            if line := EQUATION.fullmatch(step.strip()):
                left, sign, right, result = int(line[1]), line[2], int(line[3]), int(line[4])
                yield float(_calculate(left, sign, right) == result)
            else:
                yield float(result is not None and step.strip() == f"Answer: {result}")


def _calculate(left: int, sign: str, right: int) -> int | None:
    """The result of an equation in whole numbers."""
    if sign == "/":
        return left // right if right and left % right == 0 else None
    return {"+": left + right, "-": left - right, "*": left * right}[sign]


def problems(count: int, first: int = 0) -> list[Problem]:
    """Problems of stepmath's test, in which lengths and wordings take turns."""
    found = heldout_problems(first + count)[first:]
    return [
        Problem(number, problem.prompt, str(problem.answer))
        for number, problem in enumerate(found, first)
    ]


def parameters(engine: Engine) -> int:
    """Parameters of a model, the tied head counted once."""
    c = engine.config
    inner = c.n_inner
    block = 4 * c.n_embd**2 + 4 * c.n_embd + 2 * c.n_embd * inner + inner + c.n_embd + 4 * c.n_embd
    return (c.vocab_size + c.n_positions) * c.n_embd + c.n_layer * block + 2 * c.n_embd


def _size(name: str) -> float:
    """Millions of parameters in a name such as stepmath-0.4m."""
    return float(name.rpartition("-")[2].removesuffix("m"))
