"""The first ten minutes of three people, in a pseudo-terminal: what they see has its structure."""

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are of Unix", allow_module_level=True)

from tests.journeys.play import HERE, agrees, differences, plain, read


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_people_see_what_they_should(path: Path) -> None:
    assert "\n\n".join(differences(path)) == ""


def test_every_journey_expects_something() -> None:
    for path in HERE.glob("*.txt"):
        steps = read(path)
        assert len(steps) > 5
        assert sum(bool(step.shown) for step in steps) > len(steps) / 2


def test_structure_is_what_is_compared() -> None:
    assert plain("int4   4.1 MB  -1.2 ± 0.03") == "int4 # MB # ± #"
    assert agrees(["int4  3.9 MB", "...", "end"], ["int4 # MB", "what", "ever", "end"])
    assert agrees(["on a ... machine"], ["on a quick machine"])
    assert not agrees(["int4 # MB"], ["int8 # MB"])
    assert not agrees(["a"], ["a", "b"])
    assert not agrees(["a", "b"], ["a"])
