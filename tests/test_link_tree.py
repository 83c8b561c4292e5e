"""The link tree, where editors and type checkers find the package in a checkout."""

from pathlib import Path

import pytest

from scripts.link_tree import make_links, package_folders
from tests.conftest import ROOT


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A package in ``src/house`` whose room ``kitchen`` stands beside it."""
    write(tmp_path / "src" / "house" / "__init__.py", "")
    write(tmp_path / "kitchen" / "sink.py", "DEPTH = 1\n")
    return {"house": tmp_path / "src" / "house", "house.kitchen": tmp_path / "kitchen"}


def test_rooms_are_in_the_package_and_edits_are_seen(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    make_links(folders, tmp_path / "links")
    sink = tmp_path / "links" / "house" / "kitchen" / "sink.py"
    assert (tmp_path / "links" / "house" / "__init__.py").is_symlink()
    write(tmp_path / "kitchen" / "sink.py", "DEPTH = 2\n")
    assert sink.read_text(encoding="utf-8") == "DEPTH = 2\n"


def test_it_is_made_again_and_its_sources_stay(folders: dict[str, Path], tmp_path: Path) -> None:
    make_links(folders, tmp_path / "links")
    (tmp_path / "kitchen" / "sink.py").rename(tmp_path / "kitchen" / "tap.py")
    (tmp_path / "src" / "house" / "__init__.py").rename(tmp_path / "src" / "house" / "door.py")
    make_links(folders, tmp_path / "links")
    assert sorted(path.name for path in (tmp_path / "links" / "house").iterdir()) == [
        "door.py",
        "kitchen",
    ]
    assert (tmp_path / "kitchen" / "tap.py").is_file()


def test_a_file_of_someone_elses_is_not_removed(folders: dict[str, Path], tmp_path: Path) -> None:
    write(tmp_path / "links" / "notes.txt", "mine")
    with pytest.raises(OSError, match="links"):
        make_links(folders, tmp_path / "links")
    assert (tmp_path / "links" / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_two_sources_of_one_place_are_an_error(folders: dict[str, Path], tmp_path: Path) -> None:
    write(folders["house"] / "kitchen" / "__init__.py", "")
    with pytest.raises(ValueError, match="two sources"):
        make_links(folders, tmp_path / "links")


def test_every_package_of_the_wheel_is_mapped() -> None:
    folders = package_folders()
    assert folders["gpt2edge"] == ROOT / "src" / "gpt2edge"
    assert all((folder / "__init__.py").is_file() for folder in folders.values())
