"""Problems for ``gpt2edge solve``, and the solutions harvested from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2edge.cli.options.common import Source
from gpt2edge.cli.options.json_lines import json_lines

if TYPE_CHECKING:
    from gpt2edge.runtime.decoding.request import Prompt
    from gpt2edge.runtime.search import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A prompt, its expected answer in canonical form (or None), and its place in the file."""

    prompt: "Prompt"
    answer: str | None = None
    place: str = "the prompt"


def read_problems(source: Source, path: str | None) -> list[Problem]:
    """Return the prompt as the only problem, or the problems of the file."""
    if path is None:
        return [Problem(prompt=source.prompt())]
    source.check_absent("--problems")
    from gpt2edge.runtime.search import canonical

    problems = []
    for place, keys in json_lines(path, "problems"):
        answer = canonical(str(keys["answer"])) if "answer" in keys else None
        problems.append(Problem(prompt=keys["prompt"], answer=answer, place=place))
    return problems


class Harvester:
    """Appends solutions to a file, and skips problems solved there."""

    def __init__(self, path: Path, accept: float | None, problems: Sequence[Problem]) -> None:
        from gpt2edge.runtime.search import SolutionFile

        for problem in problems:
            if problem.answer is None and accept is None:
                raise ValueError(
                    f"{problem.place} has no answer to tell right solutions by: add it, or give "
                    "--accept SCORE"
                )
        self._accept = accept
        self._problems = problems
        self._harvest = SolutionFile(path)
        self._held = len(self._harvest)

    def unsolved(self) -> Iterator[Problem]:
        """Yield the problems without a solution in the file."""
        for problem in self._problems:
            if problem.prompt not in self._harvest.prompts:
                yield problem

    def add(self, candidates: "Sequence[Candidate]", problem: Problem) -> None:
        """Write the accepted candidates."""
        self._harvest.add(c for c in candidates if self._accepts(c, problem))

    def summary(self) -> str:
        """Count the solutions, and the problems left."""
        left = sum(1 for _ in self.unsolved())
        return (
            f"{len(self._harvest) - self._held} solutions added to {self._harvest.path}, "
            f"{len(self._harvest)} in all; {left} of {len(self._problems)} problems have none"
        )

    def _accepts(self, candidate: "Candidate", problem: Problem) -> bool:
        right = problem.answer is None or candidate.answer == problem.answer
        score = self._accept is None or (candidate.score or 0.0) >= self._accept
        return right and score
