"""PromptCache: keys and values of an engine's prompts, in memory and on disk.

A file belongs to one model and one onnxruntime version, is written atomically, and is checked
before use.

Layout: 16 bytes of magic, the header's length (8 bytes, little-endian), the header (JSON: key,
layout, and for each edge of the tree its parent's index and its token ids), the keys and values of
each edge as they are in memory, and the sha256 of everything before it.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.checksums import sha256
from gpt2edge.errors import FileFormatError, Gpt2EdgeError
from gpt2edge.model_dir import GRAPH_FILE, WEIGHTS_FILE, ModelDir
from gpt2edge.runtime.cache.kv_cache import CacheLayout, KeptArray
from gpt2edge.runtime.cache.prefix_tree import Edge, PrefixTree

_MAGIC: Final = b"gpt2edge prefix\n"
_FORMAT: Final = 1
_COUNT_BYTES: Final = 8
_DIGEST_BYTES: Final = 32
_FLOATS: Final = (np.dtype(np.float32), np.dtype(np.float16))


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptKey:
    """Identifies the model that keys and values belong to; ``model`` holds its files' checksums."""

    model: tuple[str, ...]
    onnxruntime: str
    layout: CacheLayout
    vocab_size: int

    def header(self) -> dict[str, Any]:
        """Return the part of the file's header that identifies the model."""
        layout = self.layout
        shape = [layout.n_layer, layout.n_head, layout.stored_dim]
        return {
            "format": _FORMAT,
            "model": list(self.model),
            "onnxruntime": self.onnxruntime,
            "layout": [*shape, layout.dtype.str],
        }


class PromptCache(PrefixTree):
    """A PrefixTree of an engine's prompts that can be saved and loaded.

    Trust a file as you trust a model: its checksum detects damage, not who wrote it.
    """

    def __init__(self, max_bytes: int, key: Callable[[], PromptKey]) -> None:
        super().__init__(max_bytes)
        self._key = key

    @classmethod
    def of(
        cls, model: ModelDir, layout: CacheLayout, max_bytes: int, onnxruntime: str
    ) -> "PromptCache":
        """Return an empty prompt cache for ``model`` and that version of onnxruntime."""

        def key() -> PromptKey:
            files = model.manifest.files
            sums = [
                files[name].sha256 or sha256(model.path / name)
                for name in (GRAPH_FILE, WEIGHTS_FILE)
                if name in files
            ]
            return PromptKey(
                model=tuple(sums),
                onnxruntime=onnxruntime,
                layout=layout,
                vocab_size=model.config.vocab_size,
            )

        return cls(max_bytes, key)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``path`` atomically, readable by its owner only, because it contains texts.

        Raises FileFormatError where ``path`` is another kind of file, and Gpt2EdgeError where it
        cannot be written.
        """
        from tempfile import NamedTemporaryFile  # slow to load

        target = Path(path)
        edges = self.edges()
        listing = [[parent, list(edge.token_ids)] for parent, edge in edges]
        header = json.dumps({**self._key().header(), "edges": listing}).encode()
        try:
            if target.exists() and not _is_ours(target):
                raise FileFormatError(
                    f"{str(target)!r} is not a prompt cache and was kept: choose another path"
                )
            with NamedTemporaryFile(dir=target.absolute().parent, prefix=".", delete=False) as file:
                try:
                    _write(file, header, [edge.kept.read() for _, edge in edges])
                    file.close()
                    Path(file.name).replace(target)
                finally:
                    Path(file.name).unlink(missing_ok=True)
        except OSError as error:
            raise Gpt2EdgeError(f"cannot write {str(target)!r}: {error.strerror}") from None

    def load(self, path: str | os.PathLike[str]) -> None:
        """Replace the prompts in memory by a file that ``save`` wrote with the same model.

        Raises FileFormatError where the file is damaged, or of another model or onnxruntime, and
        Gpt2EdgeError where it cannot be read.
        """
        source = Path(path)
        try:
            if not _is_ours(source):
                raise FileFormatError(f"{str(source)!r} is not a prompt cache")
            with source.open("rb") as file:
                edges = _read(file, source, self._key())
        except OSError as error:
            raise Gpt2EdgeError(f"cannot read {str(source)!r}: {error.strerror}") from None
        self.fill(edges)


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _write(file: IO[bytes], header: bytes, parts: list[NDArray[Any]]) -> None:
    digest = hashlib.sha256()
    count = len(header).to_bytes(_COUNT_BYTES, "little")
    for part in (_MAGIC, count, header, *(np.ascontiguousarray(part).tobytes() for part in parts)):
        digest.update(part)
        file.write(part)
    file.write(digest.digest())
    file.flush()
    os.fsync(file.fileno())


def _read(file: IO[bytes], path: Path, key: PromptKey) -> list[tuple[int, Edge]]:
    damaged = FileFormatError(f"{str(path)!r} is damaged: delete it, and it will be written again")
    size = os.fstat(file.fileno()).st_size
    start = file.read(len(_MAGIC) + _COUNT_BYTES)
    length = int.from_bytes(start[len(_MAGIC) :], "little")
    if length > size:
        raise damaged
    text = file.read(length)
    try:
        header = json.loads(text)
        edges = header.pop("edges")
        sizes = _checked_sizes(edges, key.vocab_size)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise damaged from None
    layout = _saved_layout(header, key)
    if layout is None:
        raise FileFormatError(
            f"{str(path)!r} was made with another model or another onnxruntime: delete it, or "
            "choose another name"
        )
    if size != len(start) + length + sum(sizes) * layout.stored_bytes + _DIGEST_BYTES:
        raise damaged
    payload = np.fromfile(file, np.uint8, sum(sizes) * layout.stored_bytes)
    digest = hashlib.sha256(start + text)
    digest.update(payload.data)
    if file.read(_DIGEST_BYTES) != digest.digest():
        raise damaged
    bounds = np.cumsum([0, *sizes]) * layout.stored_bytes
    found = []
    for (parent, ids), (first, last) in zip(edges, pairwise(bounds), strict=True):
        shape = (layout.n_layer, 2, layout.n_head, len(ids), layout.stored_dim)
        tokens = payload[first:last].copy().view(layout.dtype).reshape(shape)
        kept = KeptArray(tokens.astype(key.layout.dtype, copy=False))
        found.append((parent, Edge(tuple(ids), kept)))
    return found


def _saved_layout(header: dict[str, Any], key: PromptKey) -> CacheLayout | None:
    """Return the layout of a file's tokens, or None where it belongs to another model.

    float32 and float16 are read as either: with and without the kernels of gpt2edge.
    """
    layouts = [key.layout]
    if key.layout.dtype in _FLOATS:
        layouts += [replace(key.layout, dtype=dtype) for dtype in _FLOATS]
    matching = (each for each in layouts if replace(key, layout=each).header() == header)
    return next(matching, None)


def _checked_sizes(edges: Any, vocab_size: int) -> list[int]:
    """Return the number of tokens of each edge. Raises ValueError where they form no radix tree.

    Parents must come before their children.
    """
    firsts = set()
    for place, (parent, ids) in enumerate(edges):
        if type(parent) is not int or not -1 <= parent < place:
            raise ValueError
        if not ids or any(type(item) is not int or not 0 <= item < vocab_size for item in ids):
            raise ValueError
        firsts.add((parent, ids[0]))
    if len(firsts) != len(edges):
        raise ValueError
    return [len(ids) for _, ids in edges]
