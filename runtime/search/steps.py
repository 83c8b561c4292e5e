"""Steps: find where a step ends, and split a text into steps."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

StepEnd: TypeAlias = str | Callable[[str], bool]
"""A separator, which belongs to the step before it, or a function: is this step complete?"""


def is_complete(text: str, step: StepEnd) -> bool:
    """Return whether ``text``, which begins at the end of the last step, is a whole step.

    Blank text is never a step, so that a repeated separator makes no empty step.
    """
    if not text or text.isspace():
        return False
    return step(text) if callable(step) else step in text.lstrip()


def split_steps(text: str, step: StepEnd) -> list[str]:
    """Split a text into at least one step; joined, the steps are the text."""
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
    ends, index = [], text.find(step)
    while index >= 0:
        ends.append(index + len(step))
        index = text.find(step, ends[-1])
    return ends
