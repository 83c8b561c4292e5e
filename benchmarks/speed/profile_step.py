"""Where a decode step's time goes: each product, attention, the rest, and how far from the bus.

    python -m benchmarks.speed.profile_step --recipes int4 int8             # 124M, made on the spot
    python -m benchmarks.speed.profile_step --variant LABEL=FOLDER --tests pp512 tg64@d944 --publish

A step is timed as it is. onnxruntime's own profiler then times products and attention in another
engine; as it costs some 10 microseconds an operator, all smaller operators and the threads'
hand-offs are what is left of the step. Bytes are the weights as the kernel packs them, and the
cache; those over the speed at which as many threads read plain memory, right before and behind, are
the time that no kernel can go below. The name is not ``profile``, which is a module of Python's.
"""

import argparse
import json
import mmap
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, Final

import numpy as np
import onnx

from benchmarks.common.fingerprint import add_publish, provenance
from benchmarks.common.plan import Test
from benchmarks.common.report import profile_table, publish
from benchmarks.common.result_files import Row, write_rows
from benchmarks.common.variants import add_arguments, our_folders, prepare, size_and_recipes
from benchmarks.speed.overhead import Steps, run_clock
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.ort import session as session_module
from gpt2edge.runtime.ort.attention_edits import DOMAIN
from gpt2edge.runtime.ort.graph_edits import edit_for_kernels

TESTS: Final = ("pp512", "tg64@d32", "tg64@d944", "tg64@d32/b8", "tg64@d200/b16")
_WARM_UP_STEPS: Final = 16
_PREFILLS: Final = 10
"""Of a test that reads a prompt, each of which is a step here."""
_SETTLE_S: Final = 0.5
"""The weights move to huge pages in the background when the first steps run."""
_BUS_BYTES: Final = 1 << 28
_BUS_READS: Final = 8
_HUGE: Final = 1 << 21
_PRODUCTS: Final = ("Gemm", "MatMul", "MatMulNBits", "DynamicQuantizeMatMul")
_ATTENTION: Final = "GroupQueryAttention"


@dataclass(frozen=True, slots=True)
class Part:
    """A node worth a row: its group, and the bytes of weights that a call reads."""

    group: str
    weight_bytes: int


class Bus:
    """Plain memory, on huge pages if there are any, larger than the processor's caches."""

    def __init__(self, threads: int) -> None:
        memory = mmap.mmap(-1, _BUS_BYTES + _HUGE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        words = np.frombuffer(memory, np.uint64)
        words[:] = 1
        self._nbytes = words.nbytes
        self._parts = np.array_split(words, threads)

    def speeds(self) -> list[float]:
        """Bytes a second at which the threads read all of it together, a few times."""
        return [self._nbytes / self._read() for _ in range(_BUS_READS)]

    def _read(self) -> float:
        readers = [
            threading.Thread(target=np.bitwise_or.reduce, args=(part,)) for part in self._parts
        ]
        started = perf_counter()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        return perf_counter() - started


def parts_of(model: ModelDir) -> dict[str, Part]:
    """Products and attention by node name, in the graph as it is and with our kernels."""
    graph = onnx.load(model.graph_path, load_external_data=False).graph
    sizes = {tensor.name: _nbytes(tensor) for tensor in graph.initializer}
    parts, by_weight = {}, {}
    for node in graph.node:
        weights = sum(sizes.get(name, 0) for name in node.input)
        if node.op_type == "MatMulNBits":
            weights += sizes[node.input[2]]  # onnxruntime packs a sum beside every scale (x86)
        if node.op_type == _ATTENTION:
            parts[node.name] = Part("attention", 0)
        elif node.op_type in _PRODUCTS:
            role = node.name.removesuffix("/row/product")
            group = role.split("/", 1)[1] if role.startswith("h.") else role
            parts[node.name] = by_weight[node.input[1]] = Part(group, weights)
    edited = edit_for_kernels(model.graph_path.read_bytes(), "float16").model
    for node in onnx.load_from_string(edited).graph.node:
        if node.domain == DOMAIN and len(node.input) > 1 and node.input[1] in by_weight:
            parts[node.name] = by_weight[node.input[1]]  # named by what is fused behind it
    return parts


def _nbytes(tensor: onnx.TensorProto) -> int:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(np.prod(tensor.dims)) * int(dtype.itemsize)


def run_steps(engine: Engine, test: Test) -> Steps:
    """Greedy steps after ``n_depth`` tokens, all rows at once, or prompts; warmed up before."""
    if test.n_prompt:
        return _prefills(engine, test)
    decoder = engine.decoder(rows=test.batch, max_length=test.n_depth + test.n_gen)
    _steps(engine, decoder, test, min(_WARM_UP_STEPS, test.n_gen))
    sleep(_SETTLE_S)
    return _steps(engine, decoder, test, test.n_gen)


def _steps(engine: Engine, decoder: Decoder, test: Test, count: int) -> Steps:
    cache = decoder.cache
    for row in range(cache.rows):
        cache.truncate(row, 0)
    first = decoder.prefill(0, test.request(engine.config.vocab_size)["prompts"][0])
    tokens = np.full(cache.rows, int(first.argmax()))
    cache.fork(0, range(1, cache.rows))
    steps: Steps = []
    with run_clock() as in_run:
        before, ran = perf_counter(), in_run()
        for _ in range(count):
            tokens = decoder.decode(tokens).argmax(axis=1)
            now, running = perf_counter(), in_run()
            steps.append((now - before, running - ran))
            before, ran = now, running
    return steps


def _prefills(engine: Engine, test: Test) -> Steps:
    decoder = engine.decoder(rows=1, max_length=test.n_prompt)
    (prompt,) = test.request(engine.config.vocab_size)["prompts"]
    steps: Steps = []
    with run_clock() as in_run:
        for _ in range(1 + _PREFILLS):
            decoder.cache.truncate(0, 0)
            before, ran = perf_counter(), in_run()
            decoder.prefill(0, prompt)
            steps.append((perf_counter() - before, in_run() - ran))
    return steps[1:]


@contextmanager
def profiling(out: Path) -> Iterator[None]:
    """Sessions made within the block are profiled into ``out``."""
    plain = session_module._session_options

    def options(*args: Any, **settings: Any) -> Any:
        found = plain(*args, **settings)
        found.enable_profiling, found.profile_file_prefix = True, str(out / "steps")
        return found

    session_module._session_options = options
    try:
        yield
    finally:
        session_module._session_options = plain


def profiled_parts(
    folder: Path, test: Test, options: RuntimeOptions
) -> tuple[dict[str, Part], dict[str, float]]:
    """The parts of a model, and the median seconds that each group takes in a step."""
    with tempfile.TemporaryDirectory() as out:
        with profiling(Path(out)):
            engine = Engine(folder, options)
        run_steps(engine, test)
        path = Path(engine._session._session.end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
    parts = parts_of(engine.model)
    engine.close()
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")
    steps, chunks = test.n_gen, 1
    if test.n_prompt:
        steps, chunks = _PREFILLS, len(starts) // (1 + _PREFILLS)
    starts = starts[-steps * chunks :]
    groups = {part.group: np.zeros(steps) for part in parts.values()}
    for event in events:
        part = parts.get(event["name"].removesuffix("_kernel_time"))
        if part is not None and event["ts"] >= starts[0]:
            at = int(np.searchsorted(starts, event["ts"], "right")) - 1
            groups[part.group][at // chunks] += event["dur"] / 1e6
    return parts, {group: float(np.median(seconds)) for group, seconds in groups.items()}


def figures(label: str, folder: Path, test: Test, threads: int, bus: Bus) -> list[Row]:
    """A row for each group, one for what is left of the call, one for Python, one for the step."""
    options = RuntimeOptions(threads=threads)
    with Engine(folder, options) as engine:
        speeds = bus.speeds()
        steps = run_steps(engine, test)
        speeds += bus.speeds()
        layout = engine.decoder(rows=1, max_length=1).cache.layout
    step, run = (median(seconds) for seconds in zip(*steps, strict=True))
    parts, groups = profiled_parts(folder, test, options)
    tokens = test.n_depth + (test.n_gen + test.n_prompt) / 2
    cache = round(layout.token_bytes * tokens * test.batch)
    rows: list[Row] = []
    for group, seconds in groups.items():
        own = [part for part in parts.values() if part.group == group]
        nbytes = cache if group == "attention" else sum(part.weight_bytes for part in own)
        if test.n_prompt:  # bound by arithmetic
            nbytes = 0
        rows.append({"part": group, "count": len(own), "seconds": seconds, "bytes": nbytes})
    rows.append({"part": "small operators, hand-offs", "seconds": run - sum(groups.values())})
    rows.append({"part": "Python", "seconds": step - run})
    read = sum(row.get("bytes", 0) for row in rows)
    rows.append({"part": "step", "seconds": step, "bytes": read})
    shared = {"label": label, "test": test.label, "batch": test.batch}
    shared["bus_bytes_per_s"] = median(speeds)
    return [{**shared, **row} for row in rows]


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--tests", nargs="+", type=Test.of, default=list(map(Test.of, TESTS)))
    add_publish(parser)
    args = parser.parse_args()
    folders = our_folders(args, prepare(args.work, args.size)[1])
    if args.recipes or args.variant:
        del folders["gpt2edge fp32"]
    shared = provenance(
        f"python -m benchmarks.speed.profile_step{size_and_recipes(args)}", args.threads
    )
    bus = Bus(args.threads)
    rows = [
        {**shared, **row}
        for label, folder in folders.items()
        for test in args.tests
        for row in figures(label, folder, test, args.threads, bus)
    ]
    write_rows(args.work / "profile.jsonl", rows)
    print(profile_table(rows))
    if args.publish:
        publish("profile", rows)


if __name__ == "__main__":
    main()
