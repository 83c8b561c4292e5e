"""What products of few bits cost, by the number of rows: by our kernels, and by onnxruntime.

    python -m benchmarks.speed.products [--publish]

Twenty-four products of 768 x 3,072 and back, one behind the other, as in the layers of GPT-2 124M:
so many weights that a processor's cache does not hold them all. The least of the times is given,
and the products of numbers in a second that it comes to.
"""

import argparse
import json
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array

from benchmarks.common.fingerprint import add_publish, provenance
from benchmarks.common.report import publish
from benchmarks.common.result_files import Row, line, source_line
from gpt2edge.native.library import library
from gpt2edge.runtime.ort.graph_edits import edit_for_kernels
from gpt2edge.runtime.ort.library import ort
from gpt2edge.runtime.system.threads import available_threads

LAYERS: Final = 12
WIDTH, INNER = 768, 3072
ROWS: Final = (1, 2, 4, 6, 8, 12, 16, 32, 64, 256, 512)
KINDS: Final = {
    "4 bits, blocks of 32": (4, 32),
    "4 bits, blocks of 256": (4, 256),
    "8 bits, blocks of 32": (8, 32),
    "8 bits, blocks of 256": (8, 256),
    "int8 columns": (8, 0),
}
"""Bits and block size of MatMulNBits; a block of 0 is DynamicQuantizeMatMul."""


def model(bits: int, block: int) -> ModelProto:
    """The products of one kind in a row, with random weights."""
    random = np.random.default_rng(0)
    nodes: list[NodeProto] = []
    tensors: list[TensorProto] = []
    x = "x"
    for at, (k, n) in enumerate([(WIDTH, INNER), (INNER, WIDTH)] * LAYERS):
        weight, scale, y = f"{at}/weight", f"{at}/scale", f"{at}/y"
        shape = (n, k // block, block * bits // 8) if block else (k, n)
        values = random.integers(0, 256, shape, np.uint8)
        tensors.append(from_array(values if block else values.view(np.int8), weight))
        tensors.append(from_array(np.full(shape[:2] if block else n, 1e-4, np.float32), scale))
        attributes = {"K": k, "N": n, "bits": bits, "block_size": block, "accuracy_level": 4}
        kind = "MatMulNBits" if block else "DynamicQuantizeMatMul"
        own: dict[str, Any] = attributes if block else {}
        nodes.append(make_node(kind, [x, weight, scale], [y], domain="com.microsoft", **own))
        x = y
    ends = [make_tensor_value_info(name, TensorProto.FLOAT, ["rows", WIDTH]) for name in ("x", x)]
    graph = make_graph(nodes, "products", ends[:1], ends[1:], tensors)
    opsets = [make_opsetid("", 17), make_opsetid("com.microsoft", 1)]
    return make_model(graph, opset_imports=opsets, ir_version=8)


def session_options(threads: int) -> Any:
    """Options of a session that runs a graph as it is."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def both(kind: str, graph: bytes, options: Any) -> dict[str, Any]:
    """A session over onnxruntime's operators, and one over our kernels where there are any."""
    sessions = {kind: ort.InferenceSession(graph, options)}
    kernels = library()
    if kernels is not None:
        own = session_options(options.intra_op_num_threads)
        own.register_custom_ops_library(str(kernels.path))
        edited = edit_for_kernels(graph, "float32")
        assert edited.uses_kernels, "every product is ours"
        label = f"{kind}, kernels {kernels.variant}"
        sessions[label] = ort.InferenceSession(edited.model, own)
    return sessions


def least_seconds(session: Any, rows: int, seconds: float) -> float:
    """The shortest of as many calls as fit ``seconds``."""
    x = np.random.default_rng(rows).standard_normal((rows, WIDTH)).astype(np.float32)
    session.run(None, {"x": x})
    least, ends = float("inf"), perf_counter() + seconds
    while perf_counter() < ends:
        started = perf_counter()
        session.run(None, {"x": x})
        least = min(least, perf_counter() - started)
    return least


def table(rows: Sequence[Row]) -> str:
    """Milliseconds and, in brackets, 10^9 products a second: rows down, kinds across."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    found = {(row["rows"], row["kind"]): row for row in rows}
    lines = [line(["rows", *kinds]), line(["---:"] * (1 + len(kinds)))]
    for count in dict.fromkeys(row["rows"] for row in rows):
        cells = [found[count, kind] for kind in kinds]
        shown = [f"{cell['seconds'] * 1e3:.2f} ({cell['macs_per_s'] / 1e9:.0f})" for cell in cells]
        lines.append(line([f"{count}", *shown]))
    note = "Milliseconds of the 24 products; in brackets 10^9 multiply-adds a second."
    return "\n".join([note, "", *lines, "", source_line(rows[0])])


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS))
    parser.add_argument("--seconds", type=float, default=0.3, help="of each cell")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--json", action="store_true", help="rows instead of the table")
    add_publish(parser)
    args = parser.parse_args()
    options = session_options(args.threads)
    shared = provenance("python -m benchmarks.speed.products", args.threads)
    sessions = {
        label: session
        for kind, shape in KINDS.items()
        for label, session in both(kind, model(*shape).SerializeToString(), options).items()
    }
    rows: list[Row] = []
    for count in args.rows:
        for kind, session in sessions.items():
            seconds = least_seconds(session, count, args.seconds)
            speed = 2 * LAYERS * WIDTH * INNER * count / seconds
            found = {"rows": count, "kind": kind, "seconds": seconds, "macs_per_s": speed}
            rows.append({**shared, **found})
    print("\n".join(map(json.dumps, rows)) if args.json else table(rows))
    if args.publish:
        publish("products", rows, table)


if __name__ == "__main__":
    main()
