"""Make ``links/gpt2edge``, the package as one folder of links: ``python -m scripts.link_tree``.

The rooms stand at the root and are mapped into the package by ``package-dir`` in pyproject.toml,
which mypy, pyright and editors do not read. They find ``gpt2edge.runtime`` in ``links/`` (see
``mypy_path`` and ``extraPaths`` there). The links lead to the checkout, so that an edit is seen at
once; run it again after a file of ``src/gpt2edge`` was added or a room moved.
"""

import os
import sys
from pathlib import Path
from typing import Final

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT: Final = Path(__file__).resolve().parents[1]
LINKS: Final = ROOT / "links"


def package_folders(root: Path = ROOT) -> dict[str, Path]:
    """Folder by package, as pyproject.toml maps them; parents come before what they hold."""
    with (root / "pyproject.toml").open("rb") as file:
        mapped = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    return {package: root / mapped[package] for package in sorted(mapped)}


def make_links(folders: dict[str, Path], links: Path = LINKS) -> None:
    """Replace ``links`` by a tree in which every package of ``folders`` has its place.

    A package that holds others becomes a folder of links, any other is one link. Raises ValueError
    if two sources would have the same place, OSError if ``links`` holds anything but links.
    """
    _remove(links)
    for package, source in folders.items():
        place = links.joinpath(*package.split("."))
        if any(other.startswith(f"{package}.") for other in folders):
            place.mkdir(parents=True)
            for path in sorted(source.iterdir()):
                if path.name != "__pycache__":
                    _link(place / path.name, path)
        elif place.is_symlink() or place.exists():
            raise ValueError(f"{place} has two sources, one of them {source}: see package-dir")
        else:
            _link(place, source)


def _link(place: Path, target: Path) -> None:
    try:
        place.symlink_to(os.path.relpath(target, place.parent), target.is_dir())
    except OSError as error:
        if sys.platform != "win32":
            raise
        raise SystemExit(
            f"Windows refused the link {place}: switch Developer Mode on, or work in WSL ({error})"
        ) from None


def _remove(folder: Path) -> None:
    """Remove an earlier tree, which holds links and folders of links; nothing else is touched."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_symlink():
            path.unlink()
        else:
            _remove(path)
    folder.rmdir()


if __name__ == "__main__":
    make_links(package_folders())
    print(f"{LINKS.name}/ holds {', '.join(package_folders())}", file=sys.stderr)
