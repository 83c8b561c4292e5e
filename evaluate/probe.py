"""Probe: run a model on windows of tokens, and return values from inside its graph."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_tensor_value_info

from gpt2edge.graph import names
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.system.threads import available_threads


class Probe:
    """A session over a model folder's graph with ``values``, names of float32 values, as outputs.

    The weights named by ``overridable`` may be replaced in every run.
    """

    def __init__(
        self, model: ModelDir, values: Sequence[str], *, overridable: Sequence[str] = ()
    ) -> None:
        proto = onnx.load(model.graph_path, load_external_data=False)
        known = {value.name for value in proto.graph.output}
        for value in values:
            if value not in known:
                proto.graph.output.append(make_tensor_value_info(value, TensorProto.FLOAT, None))
        shapes = {tensor.name: tensor.dims for tensor in proto.graph.initializer}
        for name in overridable:
            value_info = make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
            proto.graph.input.append(value_info)
        self._session = _session(proto.SerializeToString(), os.fspath(model.path))

    def run(
        self,
        window: Sequence[int],
        values: Sequence[str],
        weights: Mapping[str, FloatArray] | None = None,
    ) -> list[FloatArray]:
        """Return the values of one pass over ``window``, each as [tokens, width].

        ``logits`` are those of every position. ``weights`` replace the model's own.
        """
        return self.run_batch([window], values, weights)

    def run_batch(
        self,
        windows: Sequence[Sequence[int]],
        values: Sequence[str],
        weights: Mapping[str, FloatArray] | None = None,
    ) -> list[FloatArray]:
        """Run over ``windows`` of one length; return each value as [windows * length, width]."""
        feed = {**self._feed(windows), **(weights or {})}
        if names.LOGITS not in values:
            # one position per window: the full head would be wasted work
            feed[names.LOGITS_TO_KEEP] = np.zeros((len(windows), 1), np.int64)
        outputs = self._session.run(list(values), feed)
        # [windows, length, width] or [windows * length, width] -> [windows * length, width]
        return [array.reshape(-1, array.shape[-1]) for array in outputs]

    def _feed(self, windows: Sequence[Sequence[int]]) -> dict[str, NDArray[Any]]:
        ids = np.asarray(windows, np.int64)  # [windows, length]
        feed: dict[str, NDArray[Any]] = {
            names.INPUT_IDS: ids,
            names.ATTENTION_MASK: np.ones_like(ids),
            names.POSITION_IDS: np.broadcast_to(np.arange(ids.shape[1]), ids.shape),
        }
        for value in self._session.get_inputs():
            if names.is_past(value.name):
                kind = np.int8 if value.type == "tensor(int8)" else np.float32
                feed[value.name] = np.zeros((len(ids), value.shape[1], 0, value.shape[3]), kind)
        return feed


def _session(graph: bytes, folder: str) -> Any:
    from gpt2edge.runtime.ort.library import ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = available_threads()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # numpy works between
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
