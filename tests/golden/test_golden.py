"""Tokens of fixed seeds are what they were when ``tokens.json`` was written."""

import json
from typing import Any, Final

import pytest

from gpt2edge import Engine, RuntimeOptions
from tests.golden.cases import TOKENS, Calls, decoding_calls, search_calls
from tests.runtime.models import make_engine

KNOWN: Final[dict[str, dict[str, Any]]] = json.loads(TOKENS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Calls]:
    """All calls, by the group that they are kept under."""
    folder = tmp_path_factory.mktemp("golden")
    engines: dict[str, Engine] = {
        profile: make_engine(folder / profile, profile=profile, options=RuntimeOptions(threads=1))
        for profile in ("cpu", "portable")
    }
    found = {name: decoding_calls(engine, folder / name) for name, engine in engines.items()}
    return {**found, "search": search_calls(engines["cpu"])}


@pytest.mark.parametrize(
    ("group", "case"), [(group, case) for group, cases in KNOWN.items() for case in cases]
)
def test_tokens_are_what_they_were(calls: dict[str, Calls], group: str, case: str) -> None:
    assert json.loads(json.dumps(calls[group][case]())) == KNOWN[group][case]


def test_every_call_is_kept(calls: dict[str, Calls]) -> None:
    assert {group: set(cases) for group, cases in calls.items()} == {
        group: set(cases) for group, cases in KNOWN.items()
    }
