"""Files of activations: numpy's ``.npz``, with a description of model and prompt."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpt2edge._checks import check_path
from gpt2edge.config import ModelConfig
from gpt2edge.errors import FileFormatError
from gpt2edge.inside.cache import ActivationCache, Source
from gpt2edge.inside.hooks import Name, full_name
from gpt2edge.runtime.arrays import FloatArray

_ABOUT: Final = "about"
"""The array of a file that describes the others; no value has this name."""
_FORMAT: Final = "gpt2edge activations 1"


def save_activations(cache: ActivationCache, path: str | os.PathLike[str]) -> None:
    """Write the values that ``cache`` names to ``path``, also those that it computes."""
    check_path("path", path)
    about = {
        "format": _FORMAT,
        "config": asdict(cache.config),
        "token_ids": cache.token_ids,
        "tokens": cache.tokens,
        "positions": cache.positions.tolist(),
        "names": list(cache),
    }
    arrays: dict[str, Any] = {name: cache[name] for name in cache}
    with Path(path).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays, **{_ABOUT: np.array(json.dumps(about))})


def load_activations(path: str | os.PathLike[str]) -> ActivationCache:
    """Read a file that ``save_activations`` wrote. Raises FileFormatError for another one."""
    check_path("path", path)
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file[_ABOUT]))
            if about["format"] != _FORMAT:
                raise ValueError(f"its format is {about['format']!r}")
            arrays = {name: file[name] for name in about["names"]}
        config = ModelConfig(**about["config"])
        source = Source(config, None, tuple(about["token_ids"]), tuple(about["tokens"]))
        return _LoadedCache(arrays, source, about["positions"])
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile raise whatever a damaged file leads to
        raise FileFormatError(f"{path} is not a file of activations: {error}") from None


class _LoadedCache(ActivationCache):
    """A cache from a file: the values that it names, as they were computed."""

    def __init__(
        self, arrays: Mapping[str, FloatArray], source: Source, positions: Sequence[int]
    ) -> None:
        super().__init__({}, list(arrays), source, positions)
        self._arrays = dict(arrays)

    def __contains__(self, name: object) -> bool:
        try:
            return full_name(name, self.config.n_layer) in self._arrays  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False

    def __getitem__(self, name: Name) -> FloatArray:
        full = full_name(name, self.config.n_layer)
        if full not in self._arrays:
            raise KeyError(f"{full!r} is not in the file")
        return self._arrays[full]
