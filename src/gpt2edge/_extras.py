"""Optional packages, imported on first use, and how to install them here."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from gpt2edge._telemetry import decline
from gpt2edge.errors import MissingExtraError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_NAME: Final = "gpt2edge"
_ORIGIN: Final = "direct_url.json"
_WINDOWS: Final = os.name == "nt"


def require(extra: str, module: str) -> ModuleType:
    """Import and return ``module``; raise MissingExtraError with the command that installs it."""
    decline()
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the package {module!r}, which is not installed: "
            f"run {install_command(extra)}"
        ) from None


def install_command(*extras: str) -> str:
    """Return the command that adds ``extras`` to this installation, wherever it came from.

    What came from a checkout, a wheel file or an address is installed from there again; what came
    from a package index, by its name. Where the source is gone, or unknown, the command names the
    packages that the extras stand for.
    """
    named = f"{_NAME}[{','.join(extras)}]"
    own = _installed()
    if own is None:
        return f"pip install {_quoted(named)}"
    installer = (own.read_text("INSTALLER") or "").strip()
    words = _requirements(own.requires or [], extras)
    if (origin := own.read_text(_ORIGIN)) is not None:
        words = _from_origin(origin, named) or words
    elif installer:
        words = [named]  # of a package index
    return f"{'uv ' * (installer == 'uv')}pip install {_quoted(*words)}"


def missing_extras() -> dict[str, str | None]:
    """Return for each extra of this distribution the command that installs it, None if it is here.

    Versions are not compared: pip does that.
    """
    from importlib.metadata import PackageNotFoundError, version

    own = _installed()
    if own is None:
        return {}
    found: dict[str, str | None] = {}
    for extra in own.metadata.get_all("Provides-Extra") or []:
        found[extra] = None
        for requirement in _requirements(own.requires or [], [extra]):
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            try:
                version(name)
            except PackageNotFoundError:
                found[extra] = install_command(extra)
    return found


def _installed() -> "Distribution | None":
    """Return what is installed; a checkout's ``gpt2edge.egg-info`` may be in front of it."""
    from importlib.metadata import distributions  # slow: not for --help

    found = list(distributions(name=_NAME))
    installed = (each for each in found if each.read_text("INSTALLER"))
    return next(installed, found[0] if found else None)


def _from_origin(origin: str, named: str) -> list[str] | None:
    """Return what to install by PEP 610's record, which stands beside all that is from no index.

    None where the folder or file is gone, or the record is none.
    """
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        keys = json.loads(origin)
        url, folder, vcs = (keys.get(name) for name in ("url", "dir_info", "vcs_info"))
        parts = urlsplit(url)
        if parts.scheme != "file" or vcs:
            return [f"{named} @ {vcs['vcs']}+{url}" if vcs else f"{named} @ {url}"]
        path = Path(url2pathname(parts.path))
        editable = ["-e"] if folder and folder.get("editable") else []
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
    extras = named.removeprefix(_NAME)
    return [*editable, f"{_near(path)}{extras}"] if path.exists() else None


def _near(path: Path) -> str:
    """Return ``path`` as one would type it: ``.`` or ``./name`` in the current folder."""
    here = Path.cwd()
    if path == here:
        return "."
    return f".{os.sep}{path.name}" if path.parent == here else str(path)


def _requirements(lines: Sequence[str], extras: Sequence[str]) -> list[str]:
    """Return the packages that ``extras`` stand for in the metadata's ``lines``."""
    found: dict[str, None] = {}
    for extra in extras:
        for line in lines:
            requirement, _, marker = line.partition(";")
            if f'extra == "{extra}"' in marker.replace("'", '"'):
                inner = requirement.strip()
                if inner.startswith(f"{_NAME}["):
                    others = inner[len(_NAME) + 1 : inner.index("]")].split(",")
                    found |= dict.fromkeys(_requirements(lines, others))
                else:
                    found[inner] = None
    return list(found)


def _quoted(*words: str) -> str:
    """Join ``words`` for a shell; cmd and PowerShell know no single quotes, or no escapes."""
    if not _WINDOWS:
        return " ".join(map(shlex.quote, words))
    return " ".join(f'"{word}"' if set(word) & set(" []<>=@") else word for word in words)


def installed_version(module: str) -> str:
    """Return the version of the package that provides ``module``, under any package name.

    onnxruntime, for example, is also distributed as onnxruntime-gpu and onnxruntime-openvino.
    """
    from importlib.metadata import PackageNotFoundError, version  # slow: not for --help

    try:
        return version(module)
    except PackageNotFoundError:
        decline()
        return str(import_module(module).__version__)
