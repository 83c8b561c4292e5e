"""Checksums: the sha256 of files, and which files have not changed since theirs was compared.

As git does with its index, what was found intact is kept beside what the system says of the file,
and believed while that is the same. The record only saves time: without it, or where it is damaged
or cannot be written, everything is hashed.
"""

import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import time_ns
from typing import Any, Final

from gpt2edge._user_dirs import user_dir

CACHE_VARIABLE: Final = "GPT2EDGE_CACHE"
RECORD_FILE: Final = "verified.json"
_MOST_FILES: Final = 256
_LARGEST_RECORD: Final = 1 << 20
_RACY_NS: Final = 2_000_000_000
"""A file written this shortly before it was hashed could be written again and look the same."""
_BLOCK_BYTES: Final = 1 << 24


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex, by long blocks: a thread waits for Python's lock at each."""
    import hashlib  # and with it OpenSSL, which only this needs
    import mmap

    digest, forget = hashlib.sha256(), getattr(mmap, "MADV_DONTNEED", None)
    if path.stat().st_size == 0:  # which cannot be mapped
        return digest.hexdigest()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(0, len(data), _BLOCK_BYTES):
            with memoryview(data) as whole, whole[start : start + _BLOCK_BYTES] as block:
                digest.update(block)
            if forget is not None:
                data.madvise(forget)
    return digest.hexdigest()


def cache_dir() -> Path:
    """Where the record is kept: ``GPT2EDGE_CACHE``, or gpt2edge in the user's cache folder.

    That is ``XDG_CACHE_HOME`` where it is an absolute path, ``LOCALAPPDATA`` on Windows, else
    ``~/.cache``. Raises RuntimeError where the user has no home.
    """
    return user_dir("gpt2edge", variable=CACHE_VARIABLE, xdg="XDG_CACHE_HOME", fallback=".cache")


def not_yet_verified(wanted: Mapping[Path, str]) -> dict[Path, str]:
    """Those of ``wanted``, sha256 by path, that were not compared since the file changed last."""
    records = _read()
    return {
        path: sha
        for path, sha in wanted.items()
        if records.get(os.path.realpath(path)) != [*_facts(path), sha]
    }


def find_damaged(wanted: Mapping[Path, str]) -> list[Path]:
    """Those of ``wanted``, sha256 by path, whose file has another; every file is hashed.

    Keeps the result for ``not_yet_verified``. Imports nothing that its caller lacks.
    """
    found: dict[str, list[Any]] = {}
    wrong: list[Path] = []
    for path, sha in wanted.items():
        facts, now = _facts(path), time_ns()
        intact = sha256(path) == sha
        settled = facts == _facts(path) and max(facts[1:3], default=now) < now - _RACY_NS
        found[os.path.realpath(path)] = [*facts, sha] if intact and settled else []
        if not intact:
            wrong.append(path)
    _keep(found)
    return wrong


def _facts(path: Path) -> list[int]:
    """What changes with a file. A time of writing can be set; the inode's change (ctime) cannot."""
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def _read() -> dict[str, Any]:
    """Facts and sha256 by real path, the latest last."""
    with suppress(OSError, ValueError, RuntimeError):  # RecursionError is one of the last
        path = cache_dir() / RECORD_FILE
        if path.is_file():  # a pipe may never end
            with path.open("rb") as file:
                records = json.loads(file.read(_LARGEST_RECORD))
            if isinstance(records, dict):
                return records
    return {}


def _keep(found: Mapping[str, list[Any]]) -> None:
    """Put ``found`` into the record; an empty list removes a file from it."""
    records = _read()
    if all(records.get(name, []) == facts for name, facts in found.items()):
        return
    records = {name: facts for name, facts in records.items() if name not in found}
    records |= {name: facts for name, facts in found.items() if facts}
    with suppress(OSError, ValueError, RuntimeError):
        text = json.dumps(dict(list(records.items())[-_MOST_FILES:]))
        folder = cache_dir()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder / f".{RECORD_FILE}.{os.getpid()}.{threading.get_ident()}.part"
        try:
            with part.open("xb") as file:
                file.write(text.encode("ascii"))
            part.replace(folder / RECORD_FILE)
        except OSError:
            part.unlink(missing_ok=True)
            raise
