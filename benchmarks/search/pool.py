"""Runs of the solver family, kept as rows: samples with all their scores, and searches over steps.

Every row is one problem. A file that was begun is gone on with, so that a run may be broken off.
"""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.search.models import LONGEST, STEP, Calculator, Problem
from gpt2edge import GREEDY, Engine
from gpt2edge.runtime.search import (
    OutcomeModel,
    ProcessModel,
    SearchPrompt,
    SearchSession,
    StepBeam,
    extract_answer,
)
from gpt2edge.runtime.search.steps import split_steps

Row = dict[str, Any]
JUDGES: Final = ("orm", "prm")


def pool_row(engine: Engine, problem: Problem, n: int, temperature: float) -> Row:
    """Samples of one problem; equal texts are kept once.

    ``likelihood`` is the geometric mean of the probabilities of a sample's tokens.
    """
    samples = engine.generate_batch(
        [problem.prompt],
        n=n,
        max_new_tokens=LONGEST,
        sampling=problem.sampling(temperature),
        logprobs=0,
    )
    texts = list(dict.fromkeys(sample.text for sample in samples))
    places = {text: place for place, text in enumerate(texts)}
    means = [math.fsum(sample.logprobs) / len(sample.logprobs) for sample in samples]
    return {
        "problem": problem.number,
        "expected": problem.answer,
        "texts": texts,
        "text": [places[sample.text] for sample in samples],
        "answers": [extract_answer(sample.text) for sample in samples],
        "tokens": [len(sample.token_ids) for sample in samples],
        "likelihood": [round(math.exp(mean), 6) for mean in means],
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
    """A pool with the scores of its samples, those of the calculator too."""
    steps = [split_steps(text, STEP) for text in pool["texts"]]
    checked = [min(found) for found in Calculator().score_steps("", steps)]
    by_text = {"check": checked} | {name: scores[name] for name in JUDGES if name in scores}
    return {**pool, **{name: [own[at] for at in pool["text"]] for name, own in by_text.items()}}


def greedy_rows(engine: Engine, problems: Sequence[Problem]) -> list[Row]:
    """The greedy answers of many problems, decoded together."""
    completions = engine.generate_batch(
        [problem.prompt for problem in problems], max_new_tokens=LONGEST, sampling=GREEDY
    )
    return [
        {
            "problem": problem.number,
            "expected": problem.answer,
            "answers": [extract_answer(completion.text)],
            "tokens": [len(completion.token_ids)],
        }
        for problem, completion in zip(problems, completions, strict=True)
    ]


@dataclass(frozen=True)
class Steps:
    """A search over steps; a ``checked`` one under the calculator, which prunes what is wrong."""

    method: str
    n: int
    width: int = 4

    @property
    def name(self) -> str:
        """As files and tables call it."""
        return f"{self.method}-{self.n}"

    @property
    def is_checked(self) -> bool:
        """Whether it needs no model to verify."""
        return self.method.startswith("checked ")

    def strategy(self, prm: ProcessModel | None) -> StepBeam:
        """Ready to run."""
        assert prm is not None or self.is_checked
        return StepBeam(
            verifier=Calculator() if prm is None or self.is_checked else prm,
            n=self.n,
            width=min(self.width, self.n),
            diverse="dvts" in self.method,
            lookahead=int("lookahead" in self.method),
            prune_below=0.5 if self.is_checked else None,
            aggregate="min" if self.is_checked else "prod",
            step=STEP,
            choose="weighted",
        )


def steps_row(
    engine: Engine, problem: Problem, steps: Steps, temperature: float, prm: ProcessModel | None
) -> Row:
    """One search over steps."""
    result = steps.strategy(prm).search(SearchSession(engine), _request(problem, temperature))
    return {
        "problem": problem.number,
        "expected": problem.answer,
        "answers": [candidate.answer for candidate in result.candidates],
        "scores": [round(candidate.score or 0.0, 6) for candidate in result.candidates],
        "chosen": result.best.answer,
        "tokens": result.cost.generated_tokens,
        "prm_tokens": result.cost.verifier_tokens,
    }


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


def _request(problem: Problem, temperature: float) -> SearchPrompt:
    return SearchPrompt(
        prompt=problem.prompt, sampling=problem.sampling(temperature), max_new_tokens=LONGEST
    )
