"""Sessions: the graphs that looking inside runs, each opened on first use, all on the CPU."""

import threading
from collections.abc import Callable
from dataclasses import replace

from gpt2edge.errors import EngineClosedError, InsideError
from gpt2edge.inside.hooks import Hook, stored_hooks
from gpt2edge.inside.passes import Passes
from gpt2edge.inside.tensors import Tensors
from gpt2edge.model_dir import WEIGHTS_FILE, ModelDir
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.ort.graph_edits import edit_for_engine
from gpt2edge.runtime.ort.graph_values import GraphValues
from gpt2edge.runtime.ort.session import PartSession, Session


class Sessions:
    """Opens a model's graph to read values, to change them, and its head alone.

    Each session holds a packed copy of the weights.
    """

    def __init__(self, model: ModelDir, options: RuntimeOptions) -> None:
        self._model = model
        self._options = replace(
            options,
            device="cpu",
            providers=(),
            speculation=None,
            prompt_cache_bytes=0,
            kv_cache=None,
        )
        self._lock = threading.Lock()
        self._opened: dict[str, Session] = {}
        self._closed = False
        self._graph = _graph_of(model)
        self.hooks = self._present(stored_hooks(model.config.n_layer))
        """Where the graph keeps each value that it holds."""
        self.tensors = Tensors(self._graph, model.path / WEIGHTS_FILE, model.config)
        """The model's weights by name."""

    @property
    def prefill_chunk(self) -> int:
        """Tokens of a chunk."""
        return self._options.prefill_chunk

    def passes(self, *, edits: bool) -> Passes:
        """Return what runs passes whose values can be read, and with ``edits`` changed."""
        values = sorted({hook.value for hook in self.hooks.values()})
        session = self._session(
            "edits" if edits else "taps",
            lambda: Session(
                self._model,
                self._options,
                lambda raw: GraphValues(raw).opened(values, values if edits else ()),
            ),
        )
        return Passes(session, self._options.prefill_chunk)

    def head(self) -> tuple[Session, str, str]:
        """Return the session of last norm and output projection, its input and its output."""
        n_layer = self._model.config.n_layer
        _, hidden, logits = self._graph.head(n_layer)
        session = self._session(
            "head",
            lambda: PartSession(
                self._model, self._options, lambda raw: GraphValues(raw).head(n_layer)[0]
            ),
        )
        return session, hidden, logits

    def close(self) -> None:
        """Free the sessions; later calls raise EngineClosedError."""
        with self._lock:
            self._closed = True
            for session in self._opened.values():
                session.close()

    def _session(self, kind: str, open_it: Callable[[], Session]) -> Session:
        """Return the session of a kind, opened on first use."""
        with self._lock:
            if self._closed:
                raise EngineClosedError("the engine is closed: load the model again")
            if kind not in self._opened:
                self._opened[kind] = open_it()
            return self._opened[kind]

    def _present(self, hooks: dict[str, Hook]) -> dict[str, Hook]:
        """Return the hooks of this graph; the activation "linear" has no node of its own.

        Raises InsideError for a graph of another maker.
        """
        found = {}
        for name, hook in hooks.items():
            if hook.value in self._graph:
                found[name] = hook
            elif name.endswith("mlp.hook_post"):
                found[name] = hooks[name.replace("hook_post", "hook_pre")]
            else:
                raise InsideError(
                    f"{self._model.graph_path}: this graph was not written by gpt2edge, it has no "
                    f"value {hook.value!r}: export the checkpoint with 'gpt2edge export'"
                )
        return found


def _graph_of(model: ModelDir) -> GraphValues:
    """Take the graph apart, edited as the engine's is. Raises InsideError where it is none."""
    raw = model.graph_path.read_bytes()
    try:
        return GraphValues(edit_for_engine(raw) if model.manifest.profile == "cpu" else raw)
    except ValueError as error:
        raise InsideError(f"{model.graph_path} is not a graph: {error}") from None
