"""Checks of the arguments that several methods share, by name."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from gpt2edge._checks import argument_error, check_bool, check_int, check_one_of
from gpt2edge.runtime.search.verifiers.verifier import Aggregate, StepVerifier, Verifier

if TYPE_CHECKING:
    pass

CHOICES: Final = ("best", "weighted", "majority")


def check_arguments(method: object, **least: int) -> None:
    """Check the fields of ``method``, a dataclass of a search's options.

    ``least`` names its counts, each with the smallest allowed value. Raises ArgumentError.
    """
    for name, low in least.items():
        check_int(name, getattr(method, name), low, 2**31)
    for name, check in _CHECKS.items():
        if hasattr(method, name):
            check(name, getattr(method, name))


def check_verifier(name: str, value: Any) -> None:
    """Raise ArgumentError unless ``value`` is a verifier, a step verifier or a function."""
    if isinstance(value, type) or not (
        isinstance(value, Verifier | StepVerifier) or callable(value)
    ):
        raise argument_error(name, value, "a verifier, or a function of prompt and completion")


def _verifier_or_none(name: str, value: Any) -> None:
    if value is not None:
        check_verifier(name, value)


def _step(name: str, value: Any) -> None:
    if not callable(value) and not (isinstance(value, str) and value):
        raise argument_error(
            name, value, "a text of one character or more, or a function of a text"
        )


def _extract(name: str, value: Any) -> None:
    if not callable(value):
        raise argument_error(name, value, "a function of a text")


_CHECKS: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "verifier": _verifier_or_none,
    "aggregate": lambda name, value: check_one_of(name, value, get_args(Aggregate)),
    "choose": lambda name, value: check_one_of(name, value, CHOICES),
    "step": _step,
    "answer": _extract,
    "early_stop": check_bool,
    "diverse": check_bool,
    "transpositions": check_bool,
}
