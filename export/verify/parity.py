"""Parity: compare the logits of the graph on disk with the reference, in prefill and decode.

The graph runs as in the engine: past and present are bound to the same buffer if the graph allows
it, else each present is the next past. The generation settings are read by the engine's own reader.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge._progress import Progress, silent
from gpt2edge.errors import ExportError, ModelDirError, ParityError
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.verify import reference
from gpt2edge.graph import names
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.defaults import GenerationDefaults
from gpt2edge.runtime.system.threads import available_threads

TOLERANCE: Final = 1e-4  # largest difference, where logits are of the order of 1
_TOKENS: Final = 32
_DECODED: Final = 4  # of those, one at a time
_SEED: Final = 20190214


def verify_graph(
    checkpoint: Checkpoint,
    graph_path: Path,
    *,
    tolerance: float = TOLERANCE,
    progress: Progress = silent,
) -> float:
    """Return the largest logits difference between graph and reference, on random token ids.

    ``tolerance`` is multiplied by the largest logit if that is above 1. Raises ParityError where
    the difference is larger, ExportError where onnxruntime refuses the graph.
    """
    config, head = checkpoint.config, checkpoint.head
    count = min(_TOKENS, config.n_positions)
    token_ids = np.random.default_rng(_SEED).integers(0, config.vocab_size, count)
    read = checkpoint.reader("computing the reference", progress)
    hidden, _ = reference.forward(config, read, token_ids.tolist())
    expected = reference.logits(hidden, checkpoint.tensor, head.weight, head.bias)
    progress("running the graph", 0, 0)
    actual = _run(graph_path, token_ids)
    difference = np.abs(actual - expected).max(axis=-1)  # [count]
    worst = int(difference.argmax())
    allowed = tolerance * max(1.0, float(np.abs(expected).max()))
    if not difference[worst] <= allowed:  # true for NaN too
        phase = "prefill" if worst < count - _DECODED else "decode"
        raise ParityError(
            f"the exported graph's logits differ from the reference by {difference[worst]:.3g} at "
            f"position {worst} ({phase}); {allowed:.3g} is allowed. Nothing was written"
        )
    return float(difference[worst])


def verify_generation_config(keys: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Raise ExportError for generation settings with which the engine would not load the model."""
    try:
        GenerationDefaults.from_dict(keys, checkpoint.config)
    except ModelDirError as error:
        raise ExportError(f"{checkpoint.path}: {error}; correct or remove that key") from None


def _run(graph_path: Path, token_ids: NDArray[np.int64]) -> FloatArray:
    """Return logits [count, size]: one prefill, then a decode step for each of the last tokens."""
    from gpt2edge.runtime.ort.library import ort

    try:
        session = _session(graph_path)
        choices = [value.name for value in session.get_overridable_initializers()]
        in_place = names.LOGITS_TO_KEEP in choices
        stepper = _Stepper(session, len(token_ids)) if in_place else _GrowingStepper(session)
        split = max(1, len(token_ids) - _DECODED)
        steps = [stepper.step(token_ids[:split], 0)]
        steps += [stepper.step(token_ids[i : i + 1], i) for i in range(split, len(token_ids))]
    except Exception as error:
        raise ExportError(f"onnxruntime {ort.__version__} cannot run the graph: {error}") from error
    return np.concatenate(steps)


class _Stepper:
    """Binds one cache buffer [1, n_head, length, head_dim] as past and as present."""

    def __init__(self, session: Any, length: int) -> None:
        from gpt2edge.runtime.ort.library import ort

        self._session = session
        self._value = ort.OrtValue.ortvalue_from_numpy
        self._buffers = {
            value.name: self._value(
                np.zeros((1, value.shape[1], length, value.shape[3]), np.float32)
            )
            for value in session.get_inputs()
            if names.is_past(value.name)
        }

    def step(self, token_ids: NDArray[np.int64], past: int) -> FloatArray:
        """Return logits [len(token_ids), size] of tokens after ``past`` others."""
        binding, total = self._session.io_binding(), past + len(token_ids)
        inputs = {
            names.INPUT_IDS: token_ids[None],
            names.ATTENTION_MASK: np.ones((1, total), np.int64),
            names.POSITION_IDS: np.arange(past, total)[None],
        }
        if past:  # a decode step also goes through the choice of positions
            inputs[names.LOGITS_TO_KEEP] = np.zeros((1, 1), np.int64)
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, self._value(array))
        for name, buffer in self._buffers.items():
            binding.bind_ortvalue_input(name, buffer)
            binding.bind_ortvalue_output(names.present_of(name), buffer)
        binding.bind_output(names.LOGITS)
        self._session.run_with_iobinding(binding)
        logits: FloatArray = binding.get_outputs()[-1].numpy()[0]
        return logits


class _GrowingStepper:
    """Feeds each present [1, n_head, past + tokens, head_dim] as the next step's past."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = {value.name: value.shape for value in session.get_inputs()}
        self._past = {
            name: np.zeros((1, shape[1], 0, shape[3]), np.float32)
            for name, shape in self._names.items()
            if names.is_past(name)
        }

    def step(self, token_ids: NDArray[np.int64], past: int) -> FloatArray:
        """Return logits [len(token_ids), size] of tokens after ``past`` others."""
        total = past + len(token_ids)
        feeds = {
            names.INPUT_IDS: token_ids[None],
            names.ATTENTION_MASK: np.ones((1, total), np.int64),
            names.POSITION_IDS: np.arange(past, total)[None],
        }
        feeds = {name: array for name, array in feeds.items() if name in self._names}
        presents = [names.present_of(name) for name in self._past]
        logits, *grown = self._session.run([names.LOGITS, *presents], {**feeds, **self._past})
        self._past = dict(zip(self._past, grown, strict=True))
        result: FloatArray = logits[0]
        return result


def _session(graph_path: Path) -> Any:
    from gpt2edge.runtime.ort.library import ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = available_threads()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # no copy of the weights
    return ort.InferenceSession(graph_path, options, providers=["CPUExecutionProvider"])
