"""Building the library: which sources, which compiler, and what is said where there is none."""

import json
import os
import sys
from pathlib import Path

import pytest

from gpt2edge.native import compile as builder


def test_every_source_is_built_for_some_architecture() -> None:
    built = {path for arch in builder.VARIANTS for path, _ in builder.units(arch)}
    assert built == set((builder.HERE / "src").glob("*.cpp"))


@pytest.mark.parametrize("architecture", builder.VARIANTS)
def test_a_source_of_each_variant_is_built_with_its_flags(architecture: str) -> None:
    variants = builder.VARIANTS[architecture]
    draws = [flags for path, flags in builder.units(architecture) if path.stem == "draw_variant"]
    assert [flags[: len(own)] for flags, own in zip(draws, variants.values(), strict=True)] == list(
        variants.values()
    )
    assert [flags[-2] for flags in draws] == [f"-DGPT2EDGE_VARIANT={name}" for name in variants]
    common = [flags for path, flags in builder.units(architecture) if path.stem == "isa"]
    assert common == [()]


def test_a_source_of_another_architecture_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(builder, "HERE", tmp_path)
    (tmp_path / "src").mkdir()
    for name in ("x_avx2.cpp", "x_i8mm.cpp", "x_portable.cpp", "plain.cpp"):
        (tmp_path / "src" / name).touch()
    found = [path.name for path, _ in builder.units("aarch64")]
    assert found == ["plain.cpp", "x_i8mm.cpp", "x_portable.cpp"]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PATH with nothing in it, and no ziglang."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(builder, "find_spec", lambda _: None)


@pytest.mark.usefixtures("no_compiler")
def test_without_any_compiler_the_reason_is_kept(tmp_path: Path) -> None:
    stale = tmp_path / builder.library_name()
    stale.touch()
    assert builder.build_or_report(tmp_path) is None
    assert not stale.exists()
    report = json.loads((tmp_path / builder.REPORT).read_text())
    assert report["library"] is None
    assert "ziglang is not installed" in report["reason"]


@pytest.mark.usefixtures("no_compiler")
def test_a_compiler_that_is_named_and_absent_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "my-cc")
    with pytest.raises(builder.BuildError, match="CXX=my-cc is not in PATH"):
        builder.find_system_compiler()


@pytest.mark.skipif(os.name == "nt", reason="a script stands for the compiler")
@pytest.mark.usefixtures("no_compiler")
def test_a_compiler_that_is_too_old_is_not_used(tmp_path: Path) -> None:
    script = tmp_path / "c++"
    script.write_text("#!/bin/sh\necho 'unrecognized option -mavxvnni' >&2\nexit 1\n")
    script.chmod(0o755)
    with pytest.raises(builder.BuildError, match=r"c\+\+: unrecognized option -mavxvnni"):
        builder.find_system_compiler()


def test_another_machine_is_built_for_by_zig_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "find_spec", lambda _: None)
    other = next(target for target in builder.TARGETS if target != builder.host())
    with pytest.raises(builder.BuildError, match="built by ziglang"):
        builder.find_compiler(other)
    monkeypatch.setattr(builder, "find_spec", lambda _: True)
    assert builder.find_compiler(other).command[:3] == (sys.executable, "-m", "ziglang")


def test_a_platform_without_kernels_is_said(tmp_path: Path) -> None:
    with pytest.raises(builder.BuildError, match="no kernels for riscv64-linux"):
        builder.build(tmp_path, "riscv64-linux")


def test_the_wheel_for_every_platform_says_what_it_is(tmp_path: Path) -> None:
    assert builder.build_or_report(tmp_path, builder.PLAIN) is None
    assert "without kernels" in (tmp_path / builder.REPORT).read_text()
