"""Print what changed in a release: ``python -m scripts.release_notes v0.1.0``.

Ends with 1 unless the tag is the version in pyproject.toml and CHANGELOG.md has a section of it.
"""

import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]


def release_notes(tag: str, *, version: str, changelog: str) -> str:
    """Return the changelog's section of the release ``tag``. Raises ValueError if it has none."""
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, the version in pyproject.toml {version}")
    heading = rf"^## {re.escape(version)}(?: \(\d{{4}}-\d\d-\d\d\))?\n"
    found = re.search(rf"{heading}(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        raise ValueError(f'CHANGELOG.md has no section "## {version} (date)" with changes in it')
    return found[1].strip() + "\n"


def project_version() -> str:
    """Return the version in pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "([^"]+)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


if __name__ == "__main__":
    try:
        notes = release_notes(
            " ".join(sys.argv[1:]),
            version=project_version(),
            changelog=(ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        )
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(notes, end="")
