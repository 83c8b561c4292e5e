"""Python's own share of a decode step: what a step takes outside onnxruntime.

    python -m benchmarks.speed.overhead [FOLDER ...]     # default: 124M fp32, and the bundled model

Three calls are taken apart: ``Engine.stream``, all that an application's loop costs,
``Decoder.decode`` with numpy's argmax, the least that one can do, and ``Engine.generate_batch``.
The clock runs around the one call into onnxruntime (``Binding.run``), and counts as Python itself.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.common.fingerprint import ROOT, add_publish, provenance
from benchmarks.common.plan import Test
from benchmarks.common.report import overhead_table, publish
from benchmarks.common.result_files import Row, folder_name, write_rows
from benchmarks.common.variants import prepare
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions
from gpt2edge.runtime.ort.binding import Binding
from gpt2edge.runtime.sampling.params import GREEDY, SamplingParams
from gpt2edge.runtime.system.threads import available_threads
from gpt2edge.runtime.text.stopping import StopParams

Steps = list[tuple[float, float]]
"""(seconds of a step, seconds of it in onnxruntime)."""

SAMPLED = SamplingParams(temperature=0.8, top_k=50, top_p=0.95, seed=1)


@contextmanager
def run_clock() -> Iterator[Callable[[], float]]:
    """Within the block, the yielded call gives the seconds spent in onnxruntime so far."""
    total, run = 0.0, Binding.run

    def timed(self: Binding) -> None:
        nonlocal total
        started = perf_counter()
        run(self)
        total += perf_counter() - started

    Binding.run = timed  # type: ignore[method-assign]
    try:
        yield lambda: total
    finally:
        Binding.run = run  # type: ignore[method-assign]


@contextmanager
def run_spans() -> Iterator[list[tuple[float, float]]]:
    """Within the block, the yielded list grows by the beginning and end of each forward call."""
    spans: list[tuple[float, float]] = []
    run = Binding.run

    def timed(self: Binding) -> None:
        started = perf_counter()
        run(self)
        spans.append((started, perf_counter()))

    Binding.run = timed  # type: ignore[method-assign]
    try:
        yield spans
    finally:
        Binding.run = run  # type: ignore[method-assign]


def batch_steps(
    engine: Engine, prompts: list[list[int]], new: int, sampling: SamplingParams, n: int = 1
) -> Steps:
    """The steps of one ``Engine.generate_batch``, each from the end of the one before."""
    with run_spans() as spans:
        engine.generate_batch(
            prompts,
            n=n,
            max_new_tokens=new + 1,
            sampling=sampling,
            stop=StopParams(ignore_eos=True),
        )
    return [(end - before, end - begun) for (_, before), (begun, end) in pairwise(spans[-new:])]


def stream_steps(engine: Engine, prompt: list[int], new: int, sampling: SamplingParams) -> Steps:
    """The steps of one ``Engine.stream``, after its first token."""
    steps: Steps = []
    with run_clock() as in_run:
        stream = engine.stream(
            prompt, max_new_tokens=new + 1, sampling=sampling, stop=StopParams(ignore_eos=True)
        )
        next(stream)
        before, ran = perf_counter(), in_run()
        for _ in stream:
            now, running = perf_counter(), in_run()
            steps.append((now - before, running - ran))
            before, ran = now, running
    return steps


def decode_steps(engine: Engine, prompt: list[int], new: int) -> Steps:
    """The steps of a bare loop over ``Decoder.decode``."""
    steps: Steps = []
    with run_clock() as in_run:
        decoder = engine.decoder(rows=1, max_length=len(prompt) + new)
        token = int(decoder.prefill(0, prompt).argmax())
        before, ran = perf_counter(), in_run()
        for _ in range(new):
            token = int(decoder.decode([token])[0].argmax())
            now, running = perf_counter(), in_run()
            steps.append((now - before, running - ran))
            before, ran = now, running
    return steps


def figures(folder: Path, name: str, args: argparse.Namespace) -> list[Row]:
    """A row for each call on one model."""
    engine = Engine(folder, RuntimeOptions(threads=args.threads))
    test = Test.of(f"tg{args.new}@d{args.depth}")
    (prompt,) = test.request(engine.config.vocab_size)["prompts"]
    others = Test.of(f"tg{args.new}@d{args.depth}/b8").request(engine.config.vocab_size)["prompts"]
    calls: dict[str, Callable[[], Steps]] = {
        "Engine.stream, greedy": lambda: stream_steps(engine, prompt, args.new, GREEDY),
        "Engine.stream, sampled": lambda: stream_steps(engine, prompt, args.new, SAMPLED),
        "Decoder.decode + argmax": lambda: decode_steps(engine, prompt, args.new),
        "Engine.generate_batch, 8 prompts, greedy": lambda: batch_steps(
            engine, others, args.new, GREEDY
        ),
        "Engine.generate_batch, n=16, sampled": lambda: batch_steps(
            engine, [prompt], args.new, SAMPLED, n=16
        ),
    }
    for call in calls.values():
        call()
    rounds = [{name: call() for name, call in calls.items()} for _ in range(args.repeats)]
    return [
        {"model": name, "call": call, **_split([step for steps in rounds for step in steps[call]])}
        for call in calls
    ]


def _split(steps: Steps) -> dict[str, Any]:
    step, python = median([step for step, _ in steps]), median([step - run for step, run in steps])
    return {
        "steps": len(steps),
        "step_us": step * 1e6,
        "run_us": median([run for _, run in steps]) * 1e6,
        "python_us": python * 1e6,
        "python_share": python / step,
    }


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    add_publish(parser)
    args = parser.parse_args()
    models = {folder.name: folder for folder in args.folders}
    if not models:
        models["124M fp32"] = prepare(args.work, "124M")[1]
        models["bundled"] = BUNDLED_MODEL
    names = "".join(f" {folder_name(folder)}" for folder in args.folders)
    shared = provenance(f"python -m benchmarks.speed.overhead{names}", args.threads)
    rows = [
        {**shared, **row} for name, folder in models.items() for row in figures(folder, name, args)
    ]
    write_rows(args.work / "overhead.jsonl", rows)
    print(overhead_table(rows))
    if args.publish:
        publish("overhead", rows)


if __name__ == "__main__":
    main()
