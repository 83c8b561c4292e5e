"""The only door to onnxruntime: opening a model, binding arrays, running."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from gpt2edge._checks import whole
from gpt2edge.errors import ModelDirError, ProviderError
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.kv_cache import CacheLayout
from gpt2edge.runtime.threads import available_threads

_DEVICES: Final = {"cpu": "CPUExecutionProvider"}
_DTYPES: Final = {
    "tensor(float)": np.float32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How a model runs.

    ``threads`` None takes what affinity and cgroup allow. With ``spinning`` the threads wait for
    the next operator of a forward call in a busy loop; they always sleep between calls. Prompts
    enter the cache ``prefill_chunk`` tokens at a time. ``cache_bytes`` bounds the KV cache of
    one batched call.
    """

    device: str = "cpu"
    threads: int | None = None
    spinning: bool = True
    prefill_chunk: int = 256
    cache_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if self.threads is not None:
            whole("threads", self.threads, 1, 1024)
        whole("prefill_chunk", self.prefill_chunk, 1, 2**31)
        whole("cache_bytes", self.cache_bytes, 1, 2**63)
        if not isinstance(self.spinning, bool):
            raise ValueError(f"spinning is {self.spinning!r}; it must be True or False")


class Session:
    """A loaded model: its graph in onnxruntime, and what its cache looks like."""

    def __init__(self, model: ModelDir, options: RuntimeOptions) -> None:
        self.threads = options.threads or available_threads()
        self.provider = _provider(options.device)
        try:
            self._session = ort.InferenceSession(
                str(model.graph_path),
                _session_options(self.threads, options.spinning),
                providers=[self.provider],
            )
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            raise ModelDirError(f"onnxruntime cannot load {model.graph_path}: {error}") from None
        active = self._session.get_providers()
        if self.provider not in active:
            raise ProviderError(f"{self.provider} was asked for, but the session runs on {active}")
        outputs = {tensor.name: tensor.shape for tensor in self._session.get_outputs()}
        self.n_logits: int = outputs["logits"][-1]
        keys = [
            tensor
            for tensor in self._session.get_inputs()
            if tensor.name.startswith("past_key_values.") and tensor.name.endswith(".key")
        ]
        _, n_head, _, head_dim = keys[0].shape
        dtype = np.dtype(_DTYPES[keys[0].type])
        self.cache_layout = CacheLayout(
            n_layer=len(keys), n_head=n_head, head_dim=head_dim, dtype=dtype
        )

    def binding(self) -> "Binding":
        """A fresh set of bound inputs and outputs."""
        return Binding(self._session)


class Binding:
    """Arrays bound to the graph's inputs and outputs by address: nothing is copied in or out."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._alive: dict[str, Any] = {}

    def input(self, name: str, array: NDArray[Any]) -> None:
        """Bind a contiguous array that the graph reads at each run."""
        self._alive[name] = value = ort.OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_input(name, value)

    def output(self, name: str, array: NDArray[Any]) -> None:
        """Bind a contiguous array that the graph writes at each run."""
        self._alive[name] = value = ort.OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_output(name, value)

    def in_place(self, past: str, present: str, array: NDArray[Any]) -> None:
        """Bind one array as cache entering and leaving the graph."""
        self._alive[past] = value = ort.OrtValue.ortvalue_from_numpy(array)
        self._binding.bind_ortvalue_input(past, value)
        self._binding.bind_ortvalue_output(present, value)

    def run(self) -> None:
        """One forward call on what the bound arrays hold now."""
        self._session.run_with_iobinding(self._binding)


def runtime_facts() -> dict[str, Any]:
    """Versions, providers and threads, for ``gpt2edge doctor``."""
    return {
        "onnxruntime": ort.__version__,
        "numpy": np.__version__,
        "providers": ort.get_available_providers(),
        "threads": available_threads(),
    }


def _provider(device: str) -> str:
    available = ort.get_available_providers()
    provider = _DEVICES.get(device)
    if provider is None or provider not in available:
        raise ProviderError(
            f"device {device!r} cannot be used; gpt2edge runs on {', '.join(_DEVICES)} "
            f"(this onnxruntime has {', '.join(available)})"
        )
    return provider


def _session_options(threads: int, spinning: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # the exporter emits the fused graph itself: what the file says is what runs
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # every call may have other lengths, so a pattern of past allocations only costs memory
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
