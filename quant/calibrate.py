"""What flows into every product of a float32 model when it reads a text."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_tensor_value_info

from gpt2edge.errors import QuantizationError
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant.graph import find_products
from gpt2edge.quant.tensors import TensorReader
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling import SamplingParams
from gpt2edge.runtime.stopping import StopParams
from gpt2edge.runtime.threads import available_threads

FloatArray = NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the windows done and their number."""

_WINDOW: Final = 256  # tokens
_SAMPLE: Final = 256  # rows kept of every product's input
_OWN_ROWS: Final = 32
_OWN_SEED: Final = 20190214


@dataclass(frozen=True, slots=True)
class InputStatistics:
    """A product's input over a text: ``absmax`` [k] per channel, ``sample`` [rows, k] of it."""

    absmax: FloatArray
    sample: FloatArray


class Observer:
    """Runs a float32 model over windows of tokens and hands out its products' inputs."""

    def __init__(self, model: ModelDir, windows: Sequence[Sequence[int]]) -> None:
        proto = onnx.load(model.graph_path, load_external_data=False)
        reader = TensorReader(proto.graph.initializer, model.path)
        self.products = {
            product.weight: product
            for product in find_products(proto.graph.node, reader).values()
            if not product.is_head
        }
        inputs = {node.name: node.input[0] for node in proto.graph.node if node.input}
        self._inputs = {name: inputs[item.node] for name, item in self.products.items()}
        for value in self._inputs.values():
            proto.graph.output.append(make_tensor_value_info(value, TensorProto.FLOAT, None))
        self._session = _session(proto.SerializeToString(), os.fspath(model.path))
        self._windows = windows

    def statistics(self, progress: Progress | None = None) -> dict[str, InputStatistics]:
        """Statistics of every product's input, by the name of its weight."""
        absmax = {name: np.zeros(item.k, np.float32) for name, item in self.products.items()}
        samples: dict[str, list[FloatArray]] = {name: [] for name in self.products}
        share = -(-_SAMPLE // len(self._windows))
        for found in self._inputs_by_window(list(self.products), progress):
            for name, rows in found.items():
                np.maximum(absmax[name], np.abs(rows).max(axis=0), out=absmax[name])
                step = max(1, len(rows) // share)
                samples[name].append(rows[step // 2 :: step].copy())
        return {
            name: InputStatistics(absmax[name], np.concatenate(samples[name]))
            for name in self.products
        }

    def second_moments(
        self, names: Sequence[str], progress: Progress | None = None
    ) -> dict[str, FloatArray]:
        """Mean of x^T x over all rows x of each product's input, [k, k]."""
        moments = {name: np.zeros((self.products[name].k,) * 2, np.float32) for name in names}
        count = 0
        for found in self._inputs_by_window(names, progress):
            for name, rows in found.items():
                moments[name] += rows.T @ rows
            count += len(rows)
        for moment in moments.values():
            moment /= count
        return moments

    def _inputs_by_window(
        self, names: Sequence[str], progress: Progress | None
    ) -> Iterator[Mapping[str, FloatArray]]:
        for done, window in enumerate(self._windows, 1):
            outputs = self._session.run([self._inputs[name] for name in names], self._feed(window))
            found = zip(names, outputs, strict=True)
            yield {name: rows.reshape(-1, rows.shape[-1]) for name, rows in found}
            if progress:
                progress(done, len(self._windows))

    def _feed(self, window: Sequence[int]) -> dict[str, NDArray[Any]]:
        ids = np.asarray(window, np.int64)[None]
        feed: dict[str, NDArray[Any]] = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "position_ids": np.arange(ids.shape[1])[None],
            "logits_to_keep": np.zeros((1, 1), np.int64),
        }
        for value in self._session.get_inputs():
            if value.name.startswith("past_key_values."):
                feed[value.name] = np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
        return feed


def cut_windows(token_ids: Sequence[int], model: ModelDir, tokens: int) -> list[list[int]]:
    """Windows that cover about ``tokens`` tokens, spread over the text.

    Raises QuantizationError where the text has fewer than 32 tokens.
    """
    length = min(_WINDOW, model.config.n_positions)
    if len(token_ids) < min(32, length):
        raise QuantizationError(
            f"the calibration text has {len(token_ids)} tokens; at least 32 are needed"
        )
    count = max(1, min(tokens, len(token_ids)) // length)
    starts = np.linspace(0, max(0, len(token_ids) - length), count)
    return [list(token_ids[round(start) : round(start) + length]) for start in starts]


def own_text(model: ModelDir, tokens: int) -> list[list[int]]:
    """Windows of about ``tokens`` tokens that the model writes itself, by a fixed seed."""
    engine = Engine(model.path)
    length = max(2, min(tokens // _OWN_ROWS, model.config.n_positions - 1))
    first = np.random.default_rng(_OWN_SEED).integers(0, model.config.vocab_size, _OWN_ROWS)
    written = engine.generate_batch(
        [[int(token_id)] for token_id in first],
        max_new_tokens=length,
        sampling=SamplingParams(temperature=1.0, seed=_OWN_SEED),
        stop=StopParams(ignore_eos=True),
    )
    return [[int(start), *done.token_ids] for start, done in zip(first, written, strict=True)]


def _session(graph: bytes, folder: str) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = available_threads()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # numpy works between
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
