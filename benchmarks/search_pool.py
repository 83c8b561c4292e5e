"""Runs of the solver family, kept as rows: samples with all their scores, and searches over steps.

Every row is one problem. A file that was begun is gone on with, so that a run may be broken off.
"""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from solver_models import LONGEST, STEP, Problem

from gpt2edge import Engine
from gpt2edge.runtime.search import (
    Candidate,
    OutcomeModel,
    ProcessModel,
    Request,
    StepBeam,
    Workspace,
    extract_answer,
)
from gpt2edge.runtime.search.candidates import gather
from gpt2edge.runtime.search.policy import agreement
from gpt2edge.runtime.search.steps import split_steps

Row = dict[str, Any]
GREEDY: Final = 0.0
PROBE: Final = 4
"""Samples that tell how hard a problem is."""


def sampled(engine: Engine, problem: Problem, n: int, temperature: float) -> list[Candidate]:
    """``n`` samples, in the order of their random streams."""
    group = _request(problem, temperature).begin(engine, n, logprobs=0)
    work = Workspace(engine)
    for _ in work.grow(group, keep=False):
        pass
    return gather(group, extract_answer)


def pool_row(engine: Engine, problem: Problem, n: int, temperature: float) -> Row:
    """Samples of one problem; equal texts are kept once."""
    candidates = sampled(engine, problem, n, temperature)
    texts = list(dict.fromkeys(candidate.text for candidate in candidates))
    return {
        "problem": problem.number,
        "expected": problem.answer,
        "texts": texts,
        "text": [texts.index(candidate.text) for candidate in candidates],
        "answers": [candidate.answer for candidate in candidates],
        "tokens": [len(candidate.completion.token_ids) for candidate in candidates],
        "likelihood": [round(likelihood(candidate), 6) for candidate in candidates],
        "agreement": agreement([candidate.answer for candidate in candidates[:PROBE]]),
    }


def score_row(problem: Problem, pool: Row, orm: OutcomeModel, prm: ProcessModel) -> Row:
    """What the verifiers say of each text of a pool, step by step for the process model."""
    steps = [split_steps(text, STEP) for text in pool["texts"]]
    outcome = orm.score(problem.prompt, pool["texts"])
    process = prm.score_steps(problem.prompt, steps)
    return {
        "problem": problem.number,
        "orm": [round(score, 6) for score in outcome],
        "prm": [[round(score, 6) for score in scores] for scores in process],
    }


def scored(pool: Row, scores: Row) -> Row:
    """A pool with the scores of its samples."""
    return {**pool, **{name: [scores[name][at] for at in pool["text"]] for name in ("orm", "prm")}}


def greedy_row(engine: Engine, problem: Problem) -> Row:
    """The one greedy answer."""
    (candidate,) = sampled(engine, problem, 1, GREEDY)
    tokens = len(candidate.completion.token_ids)
    return {
        "problem": problem.number,
        "expected": problem.answer,
        "answers": [candidate.answer],
        "tokens": [tokens],
    }


@dataclass(frozen=True)
class Steps:
    """A search over steps."""

    method: Literal["beam", "dvts", "lookahead"]
    n: int
    width: int = 4

    @property
    def name(self) -> str:
        """As files and tables call it."""
        return f"{self.method}-{self.n}"

    def strategy(self, prm: ProcessModel) -> StepBeam:
        """Ready to run."""
        return StepBeam(
            verifier=prm,
            n=self.n,
            width=min(self.width, self.n),
            diverse=self.method == "dvts",
            lookahead=int(self.method == "lookahead"),
            step=STEP,
            choose="weighted",
        )


def steps_row(
    engine: Engine, problem: Problem, steps: Steps, temperature: float, prm: ProcessModel
) -> Row:
    """One search over steps."""
    result = steps.strategy(prm).search(Workspace(engine), _request(problem, temperature))
    return {
        "problem": problem.number,
        "expected": problem.answer,
        "answers": [candidate.answer for candidate in result.candidates],
        "scores": [round(candidate.score or 0.0, 6) for candidate in result.candidates],
        "chosen": result.best.answer,
        "tokens": result.cost.generated_tokens,
        "prm_tokens": result.cost.verifier_tokens,
    }


def likelihood(candidate: Candidate) -> float:
    """Geometric mean of a sample's token probabilities."""
    logprobs = candidate.completion.logprobs
    return math.exp(math.fsum(logprobs) / len(logprobs))


class Log:
    """Rows of one run in a file, one a problem."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # broken off in writing
            path.write_text(whole, encoding="utf-8")
        self.rows: dict[int, Row] = {}
        for line in whole.splitlines():
            row = json.loads(line)
            self.rows[row["problem"]] = row

    def missing(self, problems: Sequence[Problem]) -> Iterator[Problem]:
        """Problems without a row; says on stderr where it is."""
        for at, problem in enumerate(problems):
            if problem.number not in self.rows:
                print(f"\r{self.path.name} {at + 1}/{len(problems)}", end="", file=sys.stderr)
                yield problem
        print(f"\r{self.path.name} {len(problems)} done", file=sys.stderr)

    def add(self, row: Row) -> None:
        """Write a row."""
        self.rows[row["problem"]] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _request(problem: Problem, temperature: float) -> Request:
    return Request(
        prompt=problem.prompt, sampling=problem.sampling(temperature), max_new_tokens=LONGEST
    )
