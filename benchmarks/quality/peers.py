"""Whether every peer runs the same model, and what its format costs in perplexity.

    python -m benchmarks.quality.peers --text HELD_OUT.txt --recipes int8 int4 [--publish]

The trained storyteller, converted for every peer by the same code that the speed benchmark uses:
greedy tokens beside those of gpt2edge in fp32, and the increase of perplexity over it, paired token
by token, on the same windows as ``measure.py`` (20,000 tokens, windows of 256). A peer in fp32 must
give the same tokens and a perplexity within 0.01 %, one of fewer bits within 10 %; else the script
ends with 1.
"""

import argparse
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import gpt2edge
from benchmarks.common.fingerprint import ROOT, add_publish, provenance
from benchmarks.common.report import bits, peer_quality_table, publish
from benchmarks.common.result_files import RESULTS, Row, read_rows, text_facts, write_rows
from benchmarks.common.systems import PEER_NAMES, System, Worker, engine_system, peer_systems
from benchmarks.common.variants import our_folders
from gpt2edge.export import export_checkpoint

STORYTELLER: Final = ROOT / "training" / "models" / "storyteller"
WINDOW, PROMPT, NEW, PROMPTS = 256, 32, 32, 8
_BOUNDS: Final = {32: 1e-4, 8: 0.1, 4: 0.1}
"""The largest increase of perplexity that is still the same model."""


def windows(token_ids: Sequence[int]) -> Iterator[list[int]]:
    """Windows side by side; each one's first token has nothing before it and is not scored."""
    for start in range(0, len(token_ids) - 1, WINDOW):
        yield list(token_ids[start : start + WINDOW])


def measure(system: System, token_ids: Sequence[int]) -> dict[str, Any]:
    """A system's facts, its token losses, and its greedy tokens after several prompts."""
    worker = Worker(system)
    losses = [
        -loss for some in windows(token_ids) for loss in worker.ask({"score": some})["logprobs"]
    ]
    starts = range(0, PROMPTS * WINDOW, WINDOW)
    greedy = [
        worker.ask({"prompts": [token_ids[start : start + PROMPT]], "new": NEW})["tokens"][0]
        for start in starts
    ]
    worker.close()
    return {"facts": worker.facts, "label": worker.label, "losses": losses, "greedy": greedy}


def row(own: dict[str, Any], reference: dict[str, Any]) -> Row:
    """What a system loses beside the reference."""
    difference = np.array(own["losses"]) - np.array(reference["losses"])
    ratio = math.exp(difference.mean())
    same = [
        a == b
        for mine, other in zip(own["greedy"], reference["greedy"], strict=True)
        for a, b in zip(mine, other, strict=True)
    ]
    return {
        "label": own["label"],
        **own["facts"],
        "tokens": len(own["losses"]),
        "perplexity": math.exp(np.mean(own["losses"])),
        "perplexity_increase": {"value": ratio - 1, "standard_error": ratio * _error(difference)},
        "greedy_same": sum(same) / len(same),
    }


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def faults(rows: Sequence[Row]) -> list[str]:
    """Systems that do not run the same model."""
    found = []
    for row in rows:
        increase, limit = row["perplexity_increase"]["value"], _BOUNDS[bits(row)]
        if abs(increase) > limit:
            found.append(f"{row['label']}: perplexity {increase:+.3%}, allowed are {limit:.2%}")
        if bits(row) == 32 and row["greedy_same"] < 1:
            found.append(f"{row['label']}: only {row['greedy_same']:.1%} of the greedy tokens")
    return found


def _earlier(rows: Sequence[Row]) -> list[Row]:
    """Rows of the last publication of systems that were not measured now."""
    labels = {row["label"] for row in rows}
    path = RESULTS / "peer_quality.jsonl"
    return [
        row for row in (read_rows(path) if path.is_file() else []) if row["label"] not in labels
    ]


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--text", type=Path, required=True, help="held-out UTF-8 text")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--recipes", nargs="*", default=[], metavar="RECIPE")
    parser.add_argument("--peers", nargs="*", choices=PEER_NAMES, help="default: all built")
    parser.add_argument("--envs", type=Path, default=ROOT / "build" / "envs")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--threads", type=int, default=1)
    add_publish(parser)
    args = parser.parse_args(
        namespace=argparse.Namespace(size="storyteller", variant=[], keep=False)
    )
    checkpoint, fp32 = args.work / "storyteller", args.work / "storyteller-fp32"
    shutil.copytree(STORYTELLER, checkpoint, dirs_exist_ok=True)
    export_checkpoint(checkpoint, fp32, overwrite=True)
    token_ids = gpt2edge.load(fp32).encode(args.text.read_text(encoding="utf-8"))[: args.tokens]
    systems = [
        engine_system(folder, label=label, threads=args.threads)
        for label, folder in our_folders(args, fp32).items()
    ]
    systems += peer_systems(args.peers, args.envs, checkpoint, threads=args.threads)
    measured = [measure(system, token_ids) for system in systems]
    reference = measured[0]
    peers = "" if args.peers is None else f" --peers {' '.join(args.peers)}".rstrip()
    options = f"--text {args.text.name}{peers} --recipes {' '.join(args.recipes)}"
    where = provenance(f"python -m benchmarks.quality.peers {options}", args.threads)
    shared = {"model": "storyteller", **text_facts(args.text), **where}
    rows = [{**shared, **row(own, reference)} for own in measured]
    write_rows(args.work / "peer_quality.jsonl", rows)
    print(peer_quality_table(rows))
    if args.publish:
        publish("peer_quality", [*rows, *_earlier(rows)])
    if found := faults(rows):
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
