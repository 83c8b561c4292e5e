"""AffineLens: from each layer's residual to the last one by an affine map, fitted in closed form.

The logit lens reads early residuals in the last layer's terms. A map that is fitted by least
squares translates them first; Belrose et al. (2023) train one by gradient descent.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_callable, check_int, check_path
from gpt2edge.errors import FileFormatError, InsideError
from gpt2edge.inside.scope import Inside
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.request import Prompt

_FORMAT: Final = "gpt2edge affine lens 1"
_WINDOW: Final = 256
_RIDGE: Final = 1e-3
"""Of the mean square of a coordinate: keeps directions that hardly vary from being blown up."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AffineLens:
    """Maps ``weights`` [layer, d_model + 1, d_model]; the last row is the offset.

    ``checksum`` is that of the model; ``tokens`` were fitted on.
    """

    weights: FloatArray
    checksum: str
    tokens: int

    def transform(self, resid: FloatArray, layer: int) -> FloatArray:
        """Return an estimate of the last residual, [..., d_model]."""
        weight = self.weights[layer]
        return np.asarray(resid @ weight[:-1] + weight[-1], np.float32)

    @classmethod
    def fit(
        cls,
        scope: Inside,
        text: Prompt,
        *,
        tokens: int = 60_000,
        progress: Callable[[int, int], None] | None = None,
    ) -> "AffineLens":
        """Fit on the first ``tokens`` of a text, in windows of 256.

        Raises ValueError where the text has fewer tokens than twice the model's width.
        """
        scope.require_language_model()
        check_callable("progress", progress)
        width = scope.config.n_embd
        check_int("tokens", tokens, 2 * width, 2**31)
        ids = scope.encode_text(text)[:tokens]
        if len(ids) < 2 * width:
            raise ValueError(
                f"the text has {len(ids):,} tokens; a lens of width {width} needs {2 * width:,} or "
                "more"
            )
        moments = _Moments(scope.config.n_layer, width)
        window = min(_WINDOW, scope.config.n_positions)
        for start in range(0, len(ids), window):
            moments.add(scope, ids[start : start + window])
            if progress is not None:
                progress(min(start + window, len(ids)), len(ids))
        return cls(weights=moments.solve(), checksum=scope.checksum, tokens=len(ids))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to an ``.npz`` file of numpy."""
        check_path("path", path)
        about = {"format": _FORMAT, "checksum": self.checksum, "tokens": self.tokens}
        with Path(path).open("wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), weights=self.weights)

    @classmethod
    def load(cls, path: str | os.PathLike[str], scope: Inside) -> "AffineLens":
        """Read a file that ``save`` wrote, for the model that it was fitted on.

        Raises FileFormatError for another file, InsideError for another model.
        """
        check_path("path", path)
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                if about["format"] != _FORMAT:
                    raise ValueError(f"its format is {about['format']!r}")
                weights = np.asarray(file["weights"], np.float32)
        except OSError:
            raise
        except Exception as error:  # numpy and zipfile raise whatever a damaged file leads to
            raise FileFormatError(f"{path} is no affine lens: {error}") from None
        if about["checksum"] != scope.checksum:
            raise InsideError(
                f"{path} was fitted on another model than {scope.model.path}: run 'gpt2edge lens'"
            )
        return cls(weights=weights, checksum=about["checksum"], tokens=about["tokens"])


class _Moments:
    """Sums of products of residuals with themselves and with the last one, in float64."""

    def __init__(self, layers: int, width: int) -> None:
        self._inputs = np.zeros((layers, width + 1, width + 1))
        self._outputs = np.zeros((layers, width + 1, width))

    def add(self, scope: Inside, ids: list[int]) -> None:
        """Add the tokens of one window."""
        cache = scope.read(ids, ["resid_pre", ("resid_post", -1)])
        last = cache["resid_post", -1].astype(np.float64)
        for layer in range(len(self._inputs)):
            x = np.ones((len(last), self._inputs.shape[1]))
            x[:, :-1] = cache["resid_pre", layer]
            self._inputs[layer] += x.T @ x
            self._outputs[layer] += x.T @ last

    def solve(self) -> FloatArray:
        """Return the maps of least squares."""
        found: list[NDArray[np.float64]] = []
        for x, y in zip(self._inputs, self._outputs, strict=True):
            ridge = _RIDGE * np.trace(x) / (len(x) - 1)
            found.append(np.linalg.solve(x + ridge * np.eye(len(x)), y))
        return np.asarray(np.stack(found), np.float32)
