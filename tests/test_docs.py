"""The documentation: its programs run, its commands work, its paths and links exist."""

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from gpt2edge import ModelDir
from scripts import python_reference
from tests.cli.running import invoke
from tests.conftest import ROOT
from tests.test_faces import FACES

DOCS = ROOT / "docs"
PAGES = ["tutorial.md", "guides/terminal.md", "guides/embedding.md", "guides/research.md"]
ON_THE_BUNDLED_MODEL = ["guides/inside.md"]
"""Pages that speak of what the bundled model does; a tiny one in its place has other words."""
STEP = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETUP = ("python -m venv ", ". .venv/", "pip install ")
"""Beginnings of commands that make an environment: the tests run in one."""


@pytest.fixture
def checkout(
    tiny_model: ModelDir, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder that has the paths which the pages use; its models are tiny."""
    monkeypatch.setattr("gpt2edge.runtime.engine.BUNDLED_MODEL", tiny_model.path)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_checkpoint, tmp_path / "training" / "models" / "storyteller")
    return tmp_path


def run_command(line: str) -> None:
    """Run ``gpt2edge ...``, its result sent to a file where the line says so."""
    words = shlex.split(line, comments=True)
    target = words[words.index(">") + 1 :] if ">" in words else []
    arguments = words[1 : words.index(">")] if target else words[1:]
    result = invoke(*arguments)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    for name in target:
        Path(name).write_text(result.stdout, encoding="utf-8")


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("page", PAGES)
def test_every_step_of_a_page_runs_in_its_order(page: str) -> None:
    run_steps(page)


@pytest.mark.parametrize("page", ON_THE_BUNDLED_MODEL)
def test_every_step_runs_on_the_bundled_model(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_steps(page)


def run_steps(page: str) -> None:
    """Run the commands and programs of a page, in one namespace."""
    steps = STEP.findall((DOCS / page).read_text(encoding="utf-8"))
    assert steps
    names: dict[str, object] = {}
    for language, text in steps:
        if language == "python":
            exec(compile(text, page, "exec"), names)
            continue
        for line in text.splitlines():
            command = line.removeprefix("$ ")
            assert command != line, f"{page}: a command begins with $: {line}"
            if not command.startswith(SETUP):
                assert command.startswith("gpt2edge "), f"{page}: who runs {command}?"
                run_command(command)


@pytest.mark.parametrize(
    "page", sorted(DOCS.rglob("*.md")), ids=lambda path: str(path.relative_to(DOCS))
)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_python_reference_is_fresh() -> None:
    assert (DOCS / "python.md").read_text(encoding="utf-8") == python_reference.render(), (
        "docs/python.md is stale: run make docs"
    )


def test_every_public_name_is_in_the_python_reference() -> None:
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    for face in FACES:
        for name in set(import_module(face).__all__) - {"__version__"}:
            assert f"\n### {face}.{name}\n" in text


def paths_in(text: str) -> set[str]:
    """Files and folders that a page names in backquotes."""
    return set(re.findall(r"`((?:[\w.-]+/)+(?:[\w-]+\.\w+)?)`", text))


@pytest.mark.parametrize(("page", "least"), [("docs/architecture.md", 30), ("CONTRIBUTING.md", 8)])
def test_every_path_of_a_page_exists(page: str, least: int) -> None:
    paths = paths_in((ROOT / page).read_text(encoding="utf-8"))
    assert len(paths) > least
    assert not sorted(path for path in paths if not (ROOT / path).exists())
