"""The fuzzers' targets, briefly: good inputs, and good inputs with a few bytes changed."""

import json

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.hostile.targets import TARGETS, options, seeds

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, 1e308, "\n", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
NAMES = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "stop")
QUICK = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("name", TARGETS)
def test_good_input_passes(name: str) -> None:
    for data in seeds(name):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@seed(0)
@QUICK
@given(
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4),
    cut=st.none() | st.floats(0, 1),
)
def test_good_input_with_other_bytes(
    name: str, edits: list[tuple[float, bytes]], cut: float | None
) -> None:
    data = bytearray(seeds(name)[-1])
    for place, replacement in edits:
        at = int(place * len(data))
        data[at : at + len(replacement)] = replacement
    TARGETS[name](bytes(data[: None if cut is None else int(cut * len(data))]))


@seed(0)
@QUICK
@given(st.dictionaries(st.sampled_from([*NAMES, "max_new_tokens"]), VALUES, max_size=3))
def test_options_of_any_kind(keys: dict[str, object]) -> None:
    options(json.dumps(keys).encode())
