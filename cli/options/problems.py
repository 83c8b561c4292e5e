"""Problems for ``gpt2edge solve``, and the solutions harvested from them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpt2edge.cli.options.common import Source, read_file

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
    if source.given is not None:
        raise click.UsageError("give either PROMPT or --problems.")
    problems = []
    for number, line in enumerate(read_file(path).split("\n"), 1):
        if line.strip():
            problems.append(_problem(line, f"{path}, line {number}"))
    if not problems:
        raise ValueError(f"{path} holds no problems")
    return problems


def _problem(line: str, place: str) -> Problem:
    from gpt2edge.runtime.search import canonical

    try:
        keys = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(f"{place}: not a JSON object") from None
    if not isinstance(keys, dict) or not isinstance(keys.get("prompt"), str):
        raise ValueError(f'{place}: not a JSON object with a text "prompt"')
    answer = canonical(str(keys["answer"])) if "answer" in keys else None
    return Problem(prompt=keys["prompt"], answer=answer, place=place)


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
