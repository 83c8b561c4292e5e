"""The package: nothing left out of the wheel, a facade that is light."""

import ast
import subprocess
import sys
from typing import Any

import pytest

import gpt2edge
from tests.conftest import ROOT

SOURCES = ROOT / "native" / "src"
HEAVY = ("numpy", "onnxruntime", "tokenizers", "onnx", "click", "json")


def test_packages_are_those_on_disk(project: dict[str, Any]) -> None:
    """Folders of data too; the kernels' sources stay out of the wheel."""
    setuptools = project["tool"]["setuptools"]
    found = set()
    for package, folder in setuptools["package-dir"].items():
        for path in (ROOT / folder).rglob("*"):
            inner = path.parent.relative_to(ROOT / folder).parts
            if path.is_file() and "__pycache__" not in inner and path.parent != SOURCES:
                found.add(".".join([package, *inner]))
    assert set(setuptools["packages"]) == found
    assert setuptools["packages"] == sorted(setuptools["packages"])


@pytest.mark.parametrize("group", ["llm", "lm_eval.models"])
def test_entry_points_name_what_exists(project: dict[str, Any], group: str) -> None:
    module, _, name = project["project"]["entry-points"][group]["gpt2edge"].partition(":")
    path = ROOT / "src" / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {item.name for item in tree.body if isinstance(item, ast.ClassDef | ast.FunctionDef)}
    assert (name or "register_models") in names
    extra = module.rpartition(".")[2].replace("_", "-")
    assert extra in project["project"]["optional-dependencies"]


def test_every_folder_of_modules_is_a_package() -> None:
    for room in (
        "batches",
        "runtime",
        "evaluate",
        "graph",
        "export",
        "inside",
        "native",
        "quant",
        "cli",
        "src/gpt2edge",
    ):
        for path in (ROOT / room).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path


def test_import_loads_nothing_heavy() -> None:
    code = f"import sys, gpt2edge; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_version_is_the_projects(project: dict[str, Any]) -> None:
    assert gpt2edge.__version__ == project["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in changelog


def test_every_room_is_in_the_coverage(project: dict[str, Any]) -> None:
    rooms = project["tool"]["setuptools"]["package-dir"].values()
    assert set(project["tool"]["coverage"]["run"]["source"]) == set(rooms)


def test_typed() -> None:
    assert (ROOT / "src" / "gpt2edge" / "py.typed").is_file()


def test_every_platform_has_one_bound_of_onnxruntime(project: dict[str, Any]) -> None:
    """Intel Macs have no wheel newer than 1.23, and Python 3.10 has none on any platform."""
    packaging = pytest.importorskip("packaging.requirements")
    requirements = map(packaging.Requirement, project["project"]["dependencies"])
    ours = [item for item in requirements if item.name == "onnxruntime"]
    for version in ("3.10", "3.11", "3.14"):
        for system, machine in (("darwin", "x86_64"), ("darwin", "arm64"), ("linux", "x86_64")):
            place = {
                "python_version": version,
                "sys_platform": system,
                "platform_machine": machine,
            }
            bounds = [str(item.specifier) for item in ours if item.marker.evaluate(place)]
            old = version == "3.10" or (system, machine) == ("darwin", "x86_64")
            assert bounds == [">=1.23" if old else ">=1.24"]
