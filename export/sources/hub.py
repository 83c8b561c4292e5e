"""Fetch a checkpoint from the Hugging Face Hub: its weights and text files, checked.

Safetensors are fetched where there are any, else the files that torch wrote, which ``torch_files``
reads as data.

``huggingface_hub`` does the fetching: its cache, resuming, progress bar and environment
(``HF_HOME``, ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``, ``HF_TOKEN``) are those of every other tool.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpt2edge._extras import require
from gpt2edge._progress import Progress, silent
from gpt2edge.errors import HubError
from gpt2edge.export.sources import pytorch
from gpt2edge.export.sources.hugging_face import INDEX_FILE, SINGLE_FILE
from gpt2edge.store import parse_reference

_TEXTS: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
)
_SAFETENSORS: Final = (SINGLE_FILE, INDEX_FILE, "model-?????-of-?????.safetensors")
_TORCH: Final = (pytorch.SINGLE_FILE, pytorch.INDEX_FILE, "pytorch_model-?????-of-?????.bin")
FILES: Final = (*_TEXTS, *_SAFETENSORS, *_TORCH)
"""The only files that are fetched: none is code, and nothing in them is run."""

_log = logging.getLogger("gpt2edge")

_SHA256: Final = 64  # hex digits of a large file's blob
_GIT_SHA1: Final = 40  # of a small one's


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checkpoint in the Hub's cache: its folder and its commit."""

    name: str
    commit: str
    path: Path

    @property
    def origin(self) -> str:
        """Return name and commit, for a manifest's ``source``."""
        return f"{self.name}@{self.commit}"


def fetch(name: str, *, revision: str | None = None, progress: Progress | None = None) -> Snapshot:
    """Fetch the checkpoint ``name`` at a branch, tag or commit, except for files in the cache.

    A warning says that a checkpoint has no safetensors, so that its PyTorch files are fetched.
    Without ``progress``, the progress bars of ``huggingface_hub`` are disabled in this process;
    ``progress`` is called for the steps after the download. Every file's checksum is compared with
    the Hub's. Needs the hub extra. Raises HubError with the Hub's message in one line, and
    ValueError for an invalid name.
    """
    hub = require("hub", "huggingface_hub")
    parsed = parse_reference(name)
    if parsed is None or parsed[1] is not None:
        raise ValueError(
            f"model name is {name!r}; it must be NAME or OWNER/NAME, as on the Hugging Face Hub"
        )
    if progress is None:
        require("hub", "huggingface_hub.utils").disable_progress_bars()
    path = _download(hub, name, revision, (*_TEXTS, *_SAFETENSORS))
    if not _has(path, SINGLE_FILE, INDEX_FILE):
        path = _download(hub, name, path.name, _TORCH)
        if _has(path, pytorch.SINGLE_FILE, pytorch.INDEX_FILE):
            _log.warning(
                "%s has no safetensors on the Hub: its PyTorch file is fetched, and read as data: "
                "nothing in it is run",
                name,
            )
    _check(path, name, progress or silent)
    return Snapshot(name, path.name, path)


def _download(hub: Any, name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # also those of the HTTP library beneath, which changes
        raise HubError(_reason(error, name, revision)) from error


def _has(snapshot: Path, *names: str) -> bool:
    return any((snapshot / name).is_file() for name in names)


def _check(snapshot: Path, name: str, progress: Progress) -> None:
    for path in sorted(snapshot.iterdir()):
        progress(f"hashing {path.name}", 0, 0)
        if path.is_file() and not _is_intact(path):
            path.resolve().unlink()
            path.unlink()
            raise HubError(
                f"{path.name} of {name} is damaged: its checksum is not the one that the Hub "
                "names. It was removed from the cache; pull again"
            )
    if not (snapshot / "config.json").is_file():
        raise HubError(f"{name} has no config.json on the Hub: it is not a model of transformers'")
    if not _has(snapshot, SINGLE_FILE, INDEX_FILE, pytorch.SINGLE_FILE, pytorch.INDEX_FILE):
        raise HubError(
            f"{name} has neither {SINGLE_FILE} nor {pytorch.SINGLE_FILE} on the Hub, and other "
            "formats are not fetched: download its files, then run gpt2edge export"
        )


def _is_intact(path: Path) -> bool:
    """Return whether a file hashes to its blob's name; True if the cache has no such link."""
    blob = path.resolve()
    if not path.is_symlink() or blob.parent.name != "blobs":
        return True
    if len(blob.name) == _SHA256:
        digest = hashlib.sha256()
    elif len(blob.name) == _GIT_SHA1:
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    else:
        return True
    with blob.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == blob.name


def _reason(error: Exception, name: str, revision: str | None) -> str:
    errors: Any = require("hub", "huggingface_hub.errors")
    constants: Any = require("hub", "huggingface_hub.constants")
    endpoint = constants.ENDPOINT
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{name} is gated: accept its terms at {endpoint}/{name}, then set HF_TOKEN or run "
            "'hf auth login'"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"no model {name!r} at {endpoint} that you may read: check the name; if it is private, "
            "set HF_TOKEN or run 'hf auth login'"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{name} has no revision {revision!r}: give a branch, a tag or a commit"
    if isinstance(error, errors.LocalEntryNotFoundError):
        if constants.HF_HUB_OFFLINE:
            return f"{name} is not in the Hub's cache, and HF_HUB_OFFLINE forbids fetching"
        return f"cannot reach {endpoint}, and {name} is not in the Hub's cache: {_cause(error)}"
    return f"cannot fetch {name} from {endpoint}: {_cause(error)}"


def _cause(error: BaseException) -> str:
    """Return the first line of the error at the root of the chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
