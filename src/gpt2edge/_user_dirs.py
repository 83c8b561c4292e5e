"""Where this user's files go: the conventions of XDG and of Windows."""

import os
import sys
from pathlib import Path


def user_dir(folder: str, *, variable: str, xdg: str, fallback: str) -> Path:
    """What the environment's ``variable`` names, or ``folder`` in the one that ``xdg`` names.

    ``xdg`` counts where it is an absolute path; then come ``LOCALAPPDATA`` on Windows and
    ``fallback`` in the user's home. Raises RuntimeError where there is none.
    """
    named = os.environ.get(variable)
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get(xdg, "")
    if not Path(base).is_absolute() and sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / fallback) / folder
