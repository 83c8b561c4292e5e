"""Binding: arrays bound to a graph by address."""

from typing import Any

from numpy.typing import NDArray

from gpt2edge.errors import ModelDirError
from gpt2edge.runtime.ort.library import ort
from gpt2edge.runtime.ort.session_guard import SessionGuard
from gpt2edge.runtime.ort.weights import MappedWeights


class Binding:
    """Arrays bound to the graph's inputs and outputs by address, without copies."""

    def __init__(self, session: Any, weights: MappedWeights | None, lifetime: SessionGuard) -> None:
        self._session = session
        self._weights = weights  # the mapping must outlive the session that reads it
        self._lifetime = lifetime
        self._binding = session.io_binding()
        self._alive: dict[str, Any] = {}
        self._options: Any = None

    def input(self, name: str, array: NDArray[Any]) -> None:
        """Bind a contiguous array that the graph reads at each run."""
        self._alive[name] = value = ort.OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_input(name, value)

    def output(self, name: str, array: NDArray[Any]) -> None:
        """Bind a contiguous array that the graph writes at each run."""
        self._alive[name] = value = ort.OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_output(name, value)

    def allocated(self, name: str) -> None:
        """Bind an output that onnxruntime allocates, and run no node that no output needs."""
        self._binding.bind_output(name)
        self._options = ort.RunOptions()
        self._options.only_execute_path_to_fetches = True

    def last_output(self) -> NDArray[Any]:
        """Return the output that was bound last, as of the last run."""
        array: NDArray[Any] = self._binding.get_outputs()[-1].numpy()
        return array

    def in_place(self, past: str, present: str, array: NDArray[Any]) -> None:
        """Bind one array as both past and present cache of the graph."""
        self._alive[past] = value = ort.OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_input(past, value)
        self._binding.bind_ortvalue_output(present, value)

    def run(self) -> None:
        """Run one forward call on the present contents of the bound arrays.

        Raises ModelDirError where the graph rejects them, because it does not match config.json.
        """
        self._lifetime.check()
        run_bound(self._session, self._binding, self._options)


def run_bound(session: Any, binding: Any, options: Any = None) -> None:
    """Run a session; raise ModelDirError where the graph rejects what is bound."""
    try:
        session.run_with_iobinding(binding, options)
    except Exception as error:  # onnxruntime's own exceptions share no public base class
        raise ModelDirError(f"onnxruntime cannot run the model: {error}") from error
