"""Folders for the user's files, by the conventions of XDG and Windows."""

import os
import sys
from pathlib import Path


def user_dir(folder: str, *, variable: str, xdg: str, fallback: str) -> Path:
    """Return the folder in the environment ``variable``, or ``folder`` in a base folder.

    The base is the variable ``xdg`` if it holds an absolute path, else ``LOCALAPPDATA`` on Windows,
    else ``fallback`` in the user's home. Raises RuntimeError if the user has no home.
    """
    named = os.environ.get(variable)
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get(xdg, "")
    if not Path(base).is_absolute() and sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / fallback) / folder
