"""What the verifiers learn from: solutions that a generator sampled, labelled by the checker.

How hard a problem is must say nothing about the label, or that is all that is learnt. So each
wrong beginning stands beside a right one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from training.solvers.rows import IGNORE, Judged
from training.solvers.tasks import Problem, Task

PIECE = re.compile(r" ?\d|\D+?(?= ?\d|\n|$)|\n")


def judged_whole(task: Task, problem: Problem, texts: Sequence[str]) -> Iterator[Judged]:
    """For an outcome reward model (Cobbe et al. 2021): as many wrong solutions as right ones; all
    tokens have the label of the whole.

    None occurs twice, or it would be known by heart. The reference stands in where none is right.
    """
    right = [text for text in texts if task.is_right(problem, text)] or [problem.solution]
    wrong = [text for text in texts if not task.is_right(problem, text)]
    for bad, good in zip(wrong, right, strict=False):
        yield Judged(problem.prompt, [bad], [0.0])
        yield Judged(problem.prompt, [good], [1.0])


def judged_steps(task: Task, problem: Problem, texts: Sequence[str]) -> Iterator[Judged]:
    """For a process reward model (Lightman et al. 2023): each solution up to its first wrong
    step, and a right one of as many steps with it. Results are labelled.

    The right one differs in nothing but the result, where what is computed is right.
    """
    for text in texts:
        steps = task.split(text)
        labels = task.judge_steps(problem, steps)
        if False not in labels:
            continue
        at = labels.index(False)
        before, wrong = list(steps[:at]), steps[at]
        asked = wrong[: answer_starts(wrong)]
        result = task.right_result(problem, before, wrong)
        partner = [*task.split(problem.solution)[: at + 1]]
        if result is not None:
            partner = [*before, asked + result]
        if len(partner) > at:
            yield judged(problem.prompt, [*before, wrong], [*before, asked + (result or "")])
            yield judged(problem.prompt, partner, partner)


def judged_lines(lines: Sequence[tuple[str, str, str]]) -> Judged:
    """The lines of a drill: question, result, right result."""
    return judged("", [line[0] + line[1] for line in lines], [line[0] + line[2] for line in lines])


def judged(prompt: str, steps: Sequence[str], right: Sequence[str]) -> Judged:
    """Steps whose results are labelled token by token: right as long as they go on like those in
    `right`, which ends with the question where there is no right result."""
    parts, labels = [], []
    for step, model in zip(steps, right, strict=True):
        start = answer_starts(step)
        parts.append(step[:start])
        labels.append(float(IGNORE))
        for found in PIECE.finditer(step, start):
            parts.append(found[0])
            labels.append(float(model.startswith(step[: found.end()])))
    return Judged(prompt, parts, labels)


def answer_starts(step: str) -> int:
    """Where the result of a step begins: behind its last equals sign or colon, or at once."""
    return max(step.rfind("="), step.rfind(":")) + 1
