"""Session: open a model in onnxruntime, bind arrays, run the graph."""

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge.config import ModelConfig
from gpt2edge.errors import ModelDirError, ProviderError
from gpt2edge.graph import names
from gpt2edge.model_dir import GRAPH_FILE, WEIGHTS_FILE, ModelDir
from gpt2edge.native.library import library
from gpt2edge.runtime.cache.block_layout import BlockLayout
from gpt2edge.runtime.cache.buffer_pool import BufferPool
from gpt2edge.runtime.cache.kv_cache import CacheLayout, ContiguousCache, KVCache
from gpt2edge.runtime.cache.paged_cache import BlockPools
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.ort.binding import Binding, run_bound
from gpt2edge.runtime.ort.graph_edits import calls_itself, edit_for_engine, edit_for_kernels
from gpt2edge.runtime.ort.graph_file import read_graph
from gpt2edge.runtime.ort.library import ort
from gpt2edge.runtime.ort.providers import CPU, MEMORY, check_active, requested
from gpt2edge.runtime.ort.session_guard import SessionGuard
from gpt2edge.runtime.ort.weights import MappedWeights
from gpt2edge.runtime.system import memory
from gpt2edge.runtime.system.huge_pages import HugePages
from gpt2edge.runtime.system.threads import available_threads

ONNXRUNTIME: Final[str] = ort.__version__
_VERSION: Final = tuple(map(int, ort.__version__.split(".")[:2]))
_BORROWS_WEIGHTS: Final = _VERSION >= (1, 31)
_CRASHES_ON_CYCLES: Final = _VERSION < (1, 24)
"""Older versions crash where a function calls itself; newer ones raise an error."""
_INT8_CACHE_SINCE: Final = (1, 28)
_WINDOWS_SINCE: Final = (1, 24)
_NEWEST_FOR_PYTHON_3_10: Final = "1.23"
_SPIN_MICROSECONDS: Final = "500"
"""Longer than an operator on one thread, or Python's part of a step, so that the next step finds
the threads awake; the default is so long that threads spin while a session is created."""
_DTYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
}
_WEIGHTS_FOLDER: Final = "session.model_external_initializers_file_folder_path"
"""Where the weights of a graph are that is given as bytes."""
Rewrite: TypeAlias = Callable[[bytes], bytes]
"""Changes a serialized graph."""


class Session:
    """A loaded model: its graph in onnxruntime, and the layout of its KV cache."""

    def __init__(
        self, model: ModelDir, options: RuntimeOptions, rewrite: Rewrite | None = None
    ) -> None:
        """Open ``model``; ``rewrite`` changes the bytes of its graph before."""
        self.threads = options.threads or available_threads()
        if GRAPH_FILE not in model.manifest.files:
            raise ModelDirError(f"{model.path}: manifest.json does not name {GRAPH_FILE}")
        if (model.manifest.recipe or {}).get("kv_cache") == "int8":
            require_int8_cache()
        if model.manifest.profile == "cpu":
            require_windows(model.config)
        self.providers = requested(options.device, options.providers, ort.get_available_providers())
        self.spare = BufferPool()
        """The memory pool of KV caches."""
        self._pages = HugePages()
        self._settling = threading.Lock()
        self._settled = not options.huge_pages
        first = self.providers[0]
        others = [item.name for item in self.providers] != [CPU]
        if others and model.manifest.profile == "cpu":
            raise ProviderError(
                f"{model.path} is of profile cpu, whose operators are those of onnxruntime's CPU: "
                f"for {first.name}, export it with the profile portable"
            )
        self._blocks: BlockLayout | None = None
        """The layout of the cache where the kernels of gpt2edge attend, else None."""
        self._pools: BlockPools | None = None
        self.batch_invariant = False
        """True where a row's logits are the same bits in any batch and any chunk of a prompt."""
        self._session, self._weights = self._open(model, options, rewrite)
        self.lifetime = SessionGuard(self._session)
        self.in_place = not others and _is_in_place(self._session)
        """True where past and present may share one buffer; otherwise the graph's cache grows."""
        self._memory = (MEMORY.get(first.name, "cpu"), first.device_id)
        self._input_names = {tensor.name for tensor in self._session.get_inputs()}
        self._optional_names = {
            tensor.name for tensor in self._session.get_overridable_initializers()
        }
        self.takes_lengths = names.SEQLENS_K in self._input_names
        """True where the graph reads the length of each row, not a mask (``graph_edits``)."""
        try:
            self._read_signature(model)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelDirError(
                f"{model.graph_path} is not the graph of this config.json: {error}"
            ) from None
        held = None if options.kv_cache is None else self.cache_layout.dtype.name
        if options.kv_cache != held:
            raise ProviderError(
                f"{model.path} has a KV cache of {held} here; kv_cache={options.kv_cache!r} needs "
                "the kernels of gpt2edge, a model of profile cpu and the CPU: see 'gpt2edge doctor'"
            )
        if self._blocks is not None:
            budget = options.cache_bytes + options.prompt_cache_bytes
            self._pools = BlockPools(self._blocks, budget)

    def _read_signature(self, model: ModelDir) -> None:
        """Read the shapes of logits and cache from the graph, and compare them with the config."""
        _check_inputs(model, self._input_names)
        config = model.config
        outputs = {tensor.name: tensor.shape for tensor in self._session.get_outputs()}
        self.n_logits: int = outputs[names.LOGITS][-1]
        shown = (name for name in (names.HIDDEN_STATES, *names.HEAD_INPUTS) if name in outputs)
        self.hidden_output: str | None = next(shown, None)
        """The output with the hidden states that the head reads, float32 with the rows of the
        logits; None in a graph that neither ``graph_edits`` nor its export gave one."""
        if model.manifest.task == "text-generation" and self.n_logits != config.vocab_size:
            raise ValueError(f"{self.n_logits} logits for a vocab_size of {config.vocab_size}")
        layout = self._blocks or self._declared_layout()
        if layout.n_layer != config.n_layer:
            raise ValueError(f"{layout.n_layer} caches for an n_layer of {config.n_layer}")
        padded = -(-config.head_dim // 8) * 8  # GroupQueryAttention needs a multiple of 8
        if (layout.n_head, layout.head_dim) not in (
            (config.n_kv_head, width) for width in (config.head_dim, padded)
        ):
            raise ValueError(
                f"a cache of {layout.n_head} x {layout.head_dim} for heads of "
                f"{config.n_kv_head} x {config.head_dim}"
            )
        self.cache_layout: CacheLayout = layout

    def _declared_layout(self) -> CacheLayout:
        """Return the layout of the caches among the graph's inputs."""
        keys = [tensor for tensor in self._session.get_inputs() if names.is_past_key(tensor.name)]
        if keys[0].type not in _DTYPES:
            raise ValueError(f"a cache of {keys[0].type}; it must be one of {', '.join(_DTYPES)}")
        _, n_head, _, head_dim = keys[0].shape
        dtype = np.dtype(_DTYPES[keys[0].type])
        return CacheLayout(n_layer=len(keys), n_head=n_head, head_dim=head_dim, dtype=dtype)

    def _open(
        self, model: ModelDir, options: RuntimeOptions, rewrite: Rewrite | None
    ) -> tuple[Any, MappedWeights | None]:
        """Return an onnxruntime session over ``model``, and the mapping of its weights if any."""
        own = model.manifest.profile == "cpu"
        session_options = _session_options(self.threads, options.spinning, optimize=not own)
        path = model.path / WEIGHTS_FILE
        source: Any = str(model.graph_path)  # or bytes
        weights = None
        try:
            with ExitStack() as block:
                block.enter_context(self._pages)
                if own and _BORROWS_WEIGHTS and MappedWeights.supported(path):
                    weights = MappedWeights(path)
                    block.enter_context(weights.drained())
                    _lend(session_options, WEIGHTS_FILE, weights)
                else:
                    session_options.add_session_config_entry(_WEIGHTS_FOLDER, str(model.path))
                if own or rewrite is not None or options.tensors:
                    source = read_graph(model.graph_path, options.tensors)
                if own and rewrite is None:
                    cache = options.kv_cache or _cache_dtype(model)
                    source = self._with_kernels(source, cache, session_options)
                elif own:  # what is looked into is onnxruntime's
                    source = edit_for_engine(source)
                if rewrite is not None:
                    source = rewrite(source)
                if _CRASHES_ON_CYCLES and calls_itself(model.graph_path.read_bytes()):
                    raise ValueError("a function in it calls itself")
                session = ort.InferenceSession(
                    source,
                    session_options,
                    providers=[item.name for item in self.providers],
                    provider_options=[dict(item.options) for item in self.providers],
                    enable_fallback=0,  # else it prints, and falls back to the CPU
                )
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            active = [item.name for item in self.providers]
            on_cpu = active == [CPU]
            kind, where = (ModelDirError, "") if on_cpu else (ProviderError, f" on {active}")
            reason = f"onnxruntime cannot load {model.graph_path}{where}: {error}"
            raise kind(reason) from None
        check_active(self.providers, session.get_providers())
        return session, weights

    def _with_kernels(self, graph: bytes, cache: str, session_options: Any) -> bytes:
        """Return the graph as onnxruntime gets it, with our kernels where there are any."""
        kernels = library()
        if kernels is None:
            return edit_for_engine(graph)
        edited = edit_for_kernels(graph, cache)
        self._blocks, self.batch_invariant = edited.cache, edited.batch_invariant
        if edited.uses_kernels:
            session_options.register_custom_ops_library(str(kernels.path))
        return edited.model

    def new_cache(self, rows: int, max_length: int) -> KVCache:
        """Return an empty cache for ``rows`` sequences of up to ``max_length`` tokens."""
        if self._pools is not None:
            return self._pools.cache(rows, max_length)
        return ContiguousCache(rows, max_length, self.cache_layout, self.spare)

    def settle(self) -> None:
        """Move the weights to huge pages, once, in the background; call it as decoding begins."""
        with self._settling:
            if not self._settled:
                self._settled = True
                threading.Thread(target=self._pages.collapse, daemon=True).start()

    def binding(self) -> "Binding":
        """Return a new set of bound inputs and outputs."""
        return Binding(self._usable(), self._weights, self.lifetime)

    def _usable(self) -> Any:
        session = self._session  # read before the check: another thread may close it after that
        self.lifetime.check()
        return session

    def close(self) -> None:
        """Reject every later call; the memory is freed with the last binding."""
        self.lifetime.close()
        self._session = self._weights = None
        self.spare.clear()
        if self._pools is not None:
            self._pools.clear()
        memory.give_back()  # else the heap grows in a program that loads models repeatedly

    def grow(
        self, inputs: Mapping[str, NDArray[np.int64]], past: Sequence[Any]
    ) -> tuple[NDArray[np.float32], list[Any]]:
        """Run one forward call of a graph with a growing cache; return logits and presents.

        ``past`` and the presents are OrtValues on the device, key and value of each layer in turn,
        [rows, n_head, tokens, head_dim]; the logits [rows, tokens, n_logits] are in CPU memory.
        """
        session = self._usable()
        binding = session.io_binding()
        for name in self._input_names & inputs.keys():
            binding.bind_cpu_input(name, inputs[name])
        cache = list(names.cache(len(past) // 2))
        for (name, _), value in zip(cache, past, strict=True):
            binding.bind_ortvalue_input(name, value)
        binding.bind_output(names.LOGITS)
        for _, name in cache:
            binding.bind_output(name, *self._memory)
        run_bound(session, binding)
        logits, *presents = binding.get_outputs()
        found: NDArray[np.float32] = logits.numpy()
        return found, presents

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        in_place: Iterable[tuple[str, str, NDArray[Any]]] = (),
    ) -> list[NDArray[Any]]:
        """Run one forward call on contiguous arrays; return ``outputs`` in CPU memory, in order.

        ``inputs`` may name optional inputs of the graph, too. ``in_place`` gives arrays that are
        both input and output, with the names of the two. Inputs that the graph lacks are left out.
        """
        session = self._usable()
        binding = session.io_binding()
        known = self._input_names | self._optional_names
        alive = [ort.OrtValue.ortvalue_from_numpy(inputs[name]) for name in inputs]
        for name, value in zip(inputs, alive, strict=True):
            if name in known:
                binding.bind_ortvalue_input(name, value)
        for name in outputs:
            binding.bind_output(name)
        for past, present, array in in_place:
            alive.append(ort.OrtValue.ortvalue_from_numpy(array))
            binding.bind_ortvalue_input(past, alive[-1])
            binding.bind_ortvalue_output(present, alive[-1])
        run_bound(session, binding)
        return [value.numpy() for value in binding.get_outputs()[: len(outputs)]]

    def place(self, array: NDArray[Any]) -> Any:
        """Return a contiguous array as an OrtValue on the session's device; no copy on the CPU."""
        return ort.OrtValue.ortvalue_from_numpy(array, *self._memory)

    def fetch(self, value: Any) -> NDArray[Any]:
        """Return an OrtValue of the session's device as an array; no copy on the CPU."""
        array: NDArray[Any] = value.numpy()
        return array


class PartSession(Session):
    """A session over a part of a model's graph, which has other inputs and outputs; see ``run``."""

    def _read_signature(self, model: ModelDir) -> None:
        pass


def require_int8_cache() -> None:
    """Raise ProviderError where the onnxruntime version is too old for an int8 KV cache."""
    _require(_INT8_CACHE_SINCE, "an int8 KV cache", "quantize with a float32 cache")


def require_windows(config: ModelConfig) -> None:
    """Raise ProviderError where onnxruntime is too old for layers that see a window of tokens.

    Before 1.24 its GroupQueryAttention decodes them wrongly; the profile portable has no such node.
    """
    if any(config.windows):
        _require(_WINDOWS_SINCE, "attention within a window", "export with the profile portable")


def _require(since: tuple[int, int], what: str, otherwise: str) -> None:
    """Raise ProviderError where onnxruntime is older than ``since``."""
    if tuple(int(part) for part in ort.__version__.split(".")[:2]) >= since:
        return
    remedy = "upgrade it"
    if sys.version_info < (3, 11):
        newest = _NEWEST_FOR_PYTHON_3_10
        remedy = f"Python 3.10 has no newer one than {newest}, so use Python 3.11 or newer"
    raise ProviderError(
        f"{what} needs onnxruntime {'.'.join(map(str, since))} or newer, and this is "
        f"{ort.__version__}: {remedy}, or {otherwise}"
    )


def runtime_facts() -> dict[str, Any]:
    """Return versions, providers and threads, for ``gpt2edge doctor``."""
    return {
        "onnxruntime": ort.__version__,
        "numpy": np.__version__,
        "providers": ort.get_available_providers(),
        "threads": available_threads(),
    }


def _cache_dtype(model: ModelDir) -> str:
    """Return the type of the cache's elements: exact for a float32 model, as the file says int8."""
    recipe = model.manifest.recipe
    if not recipe:
        return "float32"
    return "int8" if recipe.get("kv_cache") == "int8" else "float16"


def _is_in_place(session: Any) -> bool:
    """Return whether the graph is of profile cpu, which has an optional ``logits_to_keep``."""
    return any(item.name == names.LOGITS_TO_KEEP for item in session.get_overridable_initializers())


def _check_inputs(model: ModelDir, inputs: set[str]) -> None:
    """Raise ModelDirError for merged decoders of old exports and graphs without a cache."""
    if "use_cache_branch" in inputs:
        raise ModelDirError(
            f"{model.graph_path} is a merged decoder of an old export: its two branches are "
            "chosen by use_cache_branch and onnxruntime optimizes neither. Export the checkpoint "
            "again, with 'gpt2edge export' or a present optimum-onnx"
        )
    if not inputs & {names.past(0, names.KEY), names.KV_CACHE}:
        raise ModelDirError(
            f"{model.graph_path} has no key/value cache among its inputs: export it with the task "
            "text-generation-with-past"
        )


def _lend(options: Any, name: str, weights: MappedWeights) -> None:
    """Make the session read the file ``name`` from the mapping, and pack weights in parallel."""
    options.add_external_initializers_from_files_in_memory(
        [name], [weights.buffer], [len(weights.buffer)]
    )
    options.add_session_config_entry("session.use_external_initializer_file_buffers_directly", "1")
    options.add_session_config_entry("session.prepack.enable_parallel", "1")


def _session_options(threads: int, spinning: bool, *, optimize: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # graphs of profile cpu are optimized at export; onnxruntime optimizes the others
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    # lengths change from call to call, so memory patterns would only waste memory
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
    return options
