"""What an export costs: its time, its peak memory, and the size of what it writes.

    python -m benchmarks.speed.export_cost [--size 124M]

Every repetition is a fresh process, so that peak memory is the export's own (with Python and its
libraries); time is that of ``export_checkpoint``, verification included.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from safetensors import safe_open

from benchmarks.common.checkpoint import SIZES, Shape, write_checkpoint
from benchmarks.common.fingerprint import ROOT, add_publish, provenance
from benchmarks.common.report import export_table, publish
from benchmarks.common.result_files import write_rows
from benchmarks.peers.worker import peak_rss
from gpt2edge.evaluate.speed import percentile
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.system.threads import available_threads


def export_once(checkpoint: Path, out: Path) -> dict[str, Any]:
    """Export in this process."""
    started = perf_counter()
    model = export_checkpoint(checkpoint, out, overwrite=True)
    seconds = perf_counter() - started
    return {"seconds": seconds, "peak_rss_bytes": peak_rss(), "folder_bytes": _size(model.path)}


def export_apart(checkpoint: Path, out: Path) -> dict[str, Any]:
    """Export in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed.export_cost", "--once"]
    command += [str(checkpoint.resolve()), str(out.resolve())]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def row(size: str, work: Path, repeats: int) -> dict[str, Any]:
    """The figures of one size."""
    checkpoint = work / f"checkpoint-{size}"
    if not (checkpoint / "model.safetensors").is_file():
        write_checkpoint(checkpoint, Shape.of(size))
    runs = [export_apart(checkpoint, work / f"fp32-{size}") for _ in range(repeats + 1)][1:]
    seconds = [run["seconds"] for run in runs]
    return {
        "model": f"{size}, random weights",
        "samples_s": seconds,
        "p50_s": median(seconds),
        "p95_s": percentile(seconds, 0.95),
        "peak_rss_bytes": max(run["peak_rss_bytes"] or 0 for run in runs),
        "folder_bytes": runs[-1]["folder_bytes"],
        "checkpoint_bytes": _size(checkpoint, "model*.safetensors"),
        "parameter_bytes": _parameter_bytes(checkpoint / "model.safetensors"),
    }


def _size(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


def _parameter_bytes(path: Path) -> int:
    with safe_open(path, "np") as tensors:
        return sum(tensors.get_tensor(name).nbytes for name in tensors.keys())  # noqa: SIM118


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--size", choices=SIZES, default="124M")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--repeats", type=int, default=5)
    add_publish(parser)
    parser.add_argument("--once", nargs=2, type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(export_once(*args.once)))
        return
    command = f"python -m benchmarks.speed.export_cost --size {args.size}"
    figures = row(args.size, args.work, args.repeats)
    rows = [{**provenance(command, available_threads()), **figures}]
    write_rows(args.work / "export.jsonl", rows)
    print(export_table(rows))
    if args.publish:
        publish("export", rows)


if __name__ == "__main__":
    main()
