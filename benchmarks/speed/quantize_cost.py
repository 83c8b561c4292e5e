"""What quantizing costs: seconds, processor seconds, peak memory of the process, and determinism.

    python -m benchmarks.speed.quantize_cost --size 124M [--publish]
    python -m benchmarks.speed.quantize_cost --size 1.5B --recipes int8 int8-block:nearest

A recipe may name a rounding after a colon. Each runs in a process of its own, as the command line
does; a second run must give the same bytes. 1.5B needs 20 GB of disk.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.common.checkpoint import SIZES, Shape, write_checkpoint
from benchmarks.common.fingerprint import add_publish, provenance
from benchmarks.common.report import publish
from benchmarks.common.result_files import Row
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import GRAPH_FILE, WEIGHTS_FILE, ModelDir
from gpt2edge.runtime.system.threads import available_threads

DEFAULT: Final = ("int8:nearest", "int8", "int8-block:nearest", "int8-block", "int4")


def run(model: Path, out: Path, recipe: str) -> dict[str, float]:
    """``gpt2edge quantize`` in a process: wall and processor seconds, largest resident bytes."""
    name, _, rounding = recipe.partition(":")
    command = [sys.executable, "-m", "gpt2edge", "quantize", str(model), str(out)]
    command += ["--recipe", name, *(["--rounding", rounding] if rounding else [])]
    before = os.times()
    process = os.posix_spawn(sys.executable, command, dict(os.environ))
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return {
        "wall_s": os.times().elapsed - before.elapsed,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * 1024,
    }


def measure(model: Path, work: Path, recipe: str, *, twice: bool) -> Row:
    """One recipe's row; ``twice`` also compares the files of two runs."""
    first = work / f"{recipe.replace(':', '-')}"
    row: dict[str, Any] = {"recipe": recipe, **run(model, first, recipe)}
    files = ModelDir.open(first).manifest.files
    row["bytes"] = sum(files[name].bytes for name in (GRAPH_FILE, WEIGHTS_FILE))
    if twice:
        second = work / f"{first.name}-again"
        run(model, second, recipe)
        row["same_bytes"] = ModelDir.open(second).manifest.files == files
    return row


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="124M")
    parser.add_argument("--recipes", nargs="+", default=list(DEFAULT), metavar="NAME[:ROUNDING]")
    parser.add_argument("--model", type=Path, help="an exported model instead of a fresh one")
    parser.add_argument("--twice", action="store_true", help="run each again and compare bytes")
    add_publish(parser)
    args = parser.parse_args()
    where = provenance(
        f"python -m benchmarks.speed.quantize_cost --size {args.size}", available_threads()
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        model = args.model
        if model is None:
            checkpoint = write_checkpoint(work / "checkpoint", Shape.of(args.size))
            model = export_checkpoint(checkpoint, work / "fp32").path
        for recipe in args.recipes:
            row = measure(model, work, recipe, twice=args.twice)
            rows.append({"model": args.size, **row, **where})
            print(json.dumps({"model": args.size, **row}), flush=True)
    if args.publish:
        publish("quantize", rows)


if __name__ == "__main__":
    main()
