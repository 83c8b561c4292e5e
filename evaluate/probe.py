"""Probe: a model run on windows of tokens, with values inside its graph as outputs."""

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
    """Opens a model folder's graph with ``values``, float32 names inside it, as outputs.

    The weights ``overridable`` may be given anew at every run.
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
        """The values that one pass over ``window`` gives, each as [tokens, width].

        ``logits`` are those of every position. ``weights`` take the place of the model's own.
        """
        return self.run_batch([window], values, weights)

    def run_batch(
        self,
        windows: Sequence[Sequence[int]],
        values: Sequence[str],
        weights: Mapping[str, FloatArray] | None = None,
    ) -> list[FloatArray]:
        """``run`` for ``windows`` of one length, whose tokens follow one another."""
        feed = {**self._feed(windows), **(weights or {})}
        if names.LOGITS not in values:
            feed[names.LOGITS_TO_KEEP] = np.zeros((len(windows), 1), np.int64)  # spares the head
        outputs = self._session.run(list(values), feed)
        return [array.reshape(-1, array.shape[-1]) for array in outputs]

    def _feed(self, windows: Sequence[Sequence[int]]) -> dict[str, NDArray[Any]]:
        ids = np.asarray(windows, np.int64)
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
