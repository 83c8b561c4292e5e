"""Steps: where one ends, and how a text falls into them."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

StepEnd: TypeAlias = str | Callable[[str], bool]
"""A separator, which belongs to the step that it ends, or what says that a step is complete."""


def is_complete(text: str, step: StepEnd) -> bool:
    """Whether ``text``, which begins where the last step ended, is a whole step.

    Blank text never is, so that a separator written twice makes no empty step.
    """
    if not text or text.isspace():
        return False
    return step(text) if callable(step) else step in text.lstrip()


def split_steps(text: str, step: StepEnd) -> list[str]:
    """The steps of a text, which join to it; there is at least one."""
    steps, start = [], 0
    for end in _possible_ends(text, step):
        if is_complete(text[start:end], step):
            steps.append(text[start:end])
            start = end
    rest = text[start:]
    if not steps:
        return [rest]
    if rest and not rest.isspace():
        return [*steps, rest]
    return [*steps[:-1], steps[-1] + rest]


def _possible_ends(text: str, step: StepEnd) -> Iterable[int]:
    if callable(step):
        return range(1, len(text) + 1)
    ends, at = [], text.find(step)
    while at >= 0:
        ends.append(at + len(step))
        at = text.find(step, ends[-1])
    return ends
