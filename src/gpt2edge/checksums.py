"""Checksums: the sha256 of files, and a record of the files that have been verified.

As in git's index, the record holds each verified checksum with the file's stat fields, and is
valid while those are unchanged. It only saves time: if it is missing or damaged, or cannot be
written, every file is hashed.
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
"""A file written this recently before its hashing could change without a change of its stat."""
_BLOCK_BYTES: Final = 1 << 24


def sha256(path: Path) -> str:
    """Return the sha256 of a file in hex; hash in long blocks, as each one waits for the GIL."""
    import hashlib  # loads OpenSSL, which nothing else needs
    import mmap

    digest, forget = hashlib.sha256(), getattr(mmap, "MADV_DONTNEED", None)
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return digest.hexdigest()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start in range(0, len(data), _BLOCK_BYTES):
            with memoryview(data) as whole, whole[start : start + _BLOCK_BYTES] as block:
                digest.update(block)
            if forget is not None:
                data.madvise(forget)
    return digest.hexdigest()


def cache_dir() -> Path:
    """Return the folder of the record: ``GPT2EDGE_CACHE``, or gpt2edge in the user's cache folder.

    The cache folder is ``XDG_CACHE_HOME`` if that is an absolute path, ``LOCALAPPDATA`` on Windows,
    else ``~/.cache``. Raises RuntimeError if the user has no home.
    """
    return user_dir("gpt2edge", variable=CACHE_VARIABLE, xdg="XDG_CACHE_HOME", fallback=".cache")


def not_yet_verified(wanted: Mapping[Path, str]) -> dict[Path, str]:
    """Return the files of ``wanted``, sha256 by path, not verified since their last change."""
    records = _read()
    return {
        path: sha
        for path, sha in wanted.items()
        if records.get(os.path.realpath(path)) != [*_facts(path), sha]
    }


def find_damaged(wanted: Mapping[Path, str]) -> list[Path]:
    """Hash every file of ``wanted``, sha256 by path; return the files with another checksum.

    The results are recorded for ``not_yet_verified``. For use in a thread, it imports no module
    that its caller has not imported.
    """
    verified: dict[str, list[Any]] = {}
    wrong: list[Path] = []
    for path, sha in wanted.items():
        facts, now = _facts(path), time_ns()
        intact = sha256(path) == sha
        settled = facts == _facts(path) and max(facts[1:3], default=now) < now - _RACY_NS
        verified[os.path.realpath(path)] = [*facts, sha] if intact and settled else []
        if not intact:
            wrong.append(path)
    _record(verified)
    return wrong


def _facts(path: Path) -> list[int]:
    """Return the stat fields that change with a file; unlike mtime, ctime cannot be set."""
    try:
        stat = path.stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]


def _read() -> dict[str, Any]:
    """Return stat fields and sha256 by real path, the latest last."""
    with suppress(OSError, ValueError, RuntimeError):  # RecursionError is one of the last
        path = cache_dir() / RECORD_FILE
        if path.is_file():  # reading a pipe may never end
            with path.open("rb") as file:
                records = json.loads(file.read(_LARGEST_RECORD))
            if isinstance(records, dict):
                return records
    return {}


def _record(verified: Mapping[str, list[Any]]) -> None:
    """Put ``verified`` into the record; an empty list removes a file from it."""
    records = _read()
    if all(records.get(name, []) == facts for name, facts in verified.items()):
        return
    records = {name: facts for name, facts in records.items() if name not in verified}
    records |= {name: facts for name, facts in verified.items() if facts}
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
