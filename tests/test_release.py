"""What a release rests on: versions, notes, and tools of one version everywhere."""

import re
from typing import Any

import pytest

from scripts.release_notes import project_version, release_notes
from tests.conftest import ROOT

CHANGELOG = """# Changelog

## Unreleased

- coming

## 1.2.0 (2026-02-01)

### Added

- a door

## 1.1.0 (2026-01-01)

"""


def test_notes_are_the_section_of_the_tag() -> None:
    notes = release_notes("v1.2.0", version="1.2.0", changelog=CHANGELOG)
    assert notes == "### Added\n\n- a door\n"


@pytest.mark.parametrize(
    ("tag", "version", "message"),
    [
        ("v1.2.1", "1.2.0", "the tag is v1.2.1, the version in pyproject.toml 1.2.0"),
        ("1.2.0", "1.2.0", "the tag is 1.2.0"),
        ("v1.1.0", "1.1.0", "no section"),  # an empty one
        ("v1.20", "1.20", "no section"),
        ("v1.3.0", "1.3.0", "no section"),
    ],
)
def test_a_release_without_its_notes_is_refused(tag: str, version: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        release_notes(tag, version=version, changelog=CHANGELOG)


def test_the_version_is_read_as_the_build_reads_it(project: dict[str, Any]) -> None:
    assert project_version() == project["project"]["version"]


def test_pre_commit_and_make_lint_run_the_same_ruff(project: dict[str, Any]) -> None:
    (pinned,) = [tool for tool in project["dependency-groups"]["lint"] if tool.startswith("ruff")]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"ruff==[\d.]+", hooks)) == {pinned}


def test_every_action_is_pinned_by_its_commit() -> None:
    folder = ROOT / ".github" / "workflows"
    used = [
        line
        for path in sorted(folder.glob("*.yml"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert used
    for line in used:
        assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
