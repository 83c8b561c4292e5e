"""The library: which variant runs, why no better one, and what a wrong variable is told."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpt2edge.cli.app import cli
from gpt2edge.errors import ArgumentError
from gpt2edge.native import compile as builder
from gpt2edge.native import library as module
from tests.native.variants import needs_kernels, runnable_variants, use_variant


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Variables that are unset, and a library that is looked for again; both as before after it."""
    monkeypatch.delenv(module.SWITCH, raising=False)
    monkeypatch.delenv(module.CHOICE, raising=False)
    before = module.library()
    module.library.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    module.library.cache_clear()
    if before is not None:
        with use_variant(before.variant):
            pass
        assert module.library() is not None


def test_it_has_the_name_that_the_compiler_gives_it() -> None:
    assert builder.library_name() == module.NAME
    assert builder.REPORT == "built.json"
    assert os.environ.get("GPT2EDGE_LIBRARY") or builder.HERE == module.FOLDER


def test_switched_off(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv(module.SWITCH, "0")
    assert module.library() is None
    assert module.facts()["variant"] is None
    assert module.facts()["reason"] == "GPT2EDGE_NATIVE is 0"


def test_another_switch_is_one_clear_line(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv(module.SWITCH, "yes")
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 1
    with pytest.raises(ArgumentError, match="GPT2EDGE_NATIVE is 'yes'; it must be 0"):
        module.library()


@needs_kernels
def test_the_best_variant_runs(fresh: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    loaded = module.library()
    assert loaded is not None
    assert loaded.variant == runnable_variants()[-1]
    facts = module.facts()
    assert facts["library"] == str(module.FOLDER / module.NAME)
    names = list(module.variants())
    better = names[names.index(loaded.variant) + 1 :]
    assert (facts["reason"] is None) == (not better)
    assert all(f"{name} needs {module.variants()[name]}" in facts["reason"] for name in better)


@needs_kernels
@pytest.mark.parametrize("name", runnable_variants())
def test_a_variant_is_forced(fresh: pytest.MonkeyPatch, name: str) -> None:
    fresh.setenv(module.CHOICE, name)
    loaded = module.library()
    assert loaded is not None
    assert loaded.variant == name
    assert loaded.functions.gpt2edge_variant() == list(module.variants()).index(name)
    if name != runnable_variants()[-1]:
        assert module.facts()["reason"] == f"GPT2EDGE_ISA is {name}"


@needs_kernels
def test_a_variant_that_is_none_is_told_which_there_are(fresh: pytest.MonkeyPatch) -> None:
    variants, runnable = module.variants(), runnable_variants()
    module.library.cache_clear()
    fresh.setenv(module.CHOICE, "sse9")
    with pytest.raises(ArgumentError, match="GPT2EDGE_ISA is 'sse9'; on this processor") as caught:
        module.library()
    assert str(caught.value).endswith(", ".join(runnable))
    for name, missing in variants.items():
        if missing:
            fresh.setenv(module.CHOICE, name)
            with pytest.raises(ArgumentError, match=f"which needs {missing}"):
                module.library()


def test_without_a_library_the_reason_is_the_builds(
    fresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fresh.setattr(module, "FOLDER", tmp_path)
    assert module.library() is None
    assert "install the package again" in module.facts()["reason"]
    (tmp_path / "built.json").write_text(json.dumps({"library": None, "reason": "no compiler"}))
    assert module.facts()["reason"] == "no compiler"
    module.library.cache_clear()
    fresh.setenv(module.CHOICE, "avx2")
    with pytest.raises(ArgumentError, match="there are no kernels: no compiler"):
        module.library()


def test_a_damaged_library_is_said(
    fresh: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fresh.setattr(module, "FOLDER", tmp_path)
    (tmp_path / module.NAME).write_bytes(b"not a library")
    assert module.library() is None
    assert "runs without its kernels" in caplog.text
    assert "does not load" in module.facts()["reason"]
