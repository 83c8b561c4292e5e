"""Quality of every recipe, on a model and on its outlier twin: the same tokens, against float32.

    python benchmarks/quality.py CHECKPOINT --text HELD_OUT.txt [--twin] [--tokens 20000]

Each row: size, perplexity and its paired increase, KL divergence, top-1 and greedy agreement, the
time to quantize, decode and prefill speed. Rows go to ``benchmarks/results/quality.jsonl``, a table
to stdout.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from fingerprint import ROOT, provenance
from outlier_twin import make_twin

import gpt2edge
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT4, MIXED, RECIPES, compare, mixed_recipe, quantize
from gpt2edge.runtime.stopping import StopParams
from gpt2edge.runtime.threads import available_threads

RESULTS = ROOT / "benchmarks" / "results" / "quality.jsonl"
DECODED, PREFILLED, REPEATS = 64, 256, 5


def speeds(engine: gpt2edge.Engine) -> dict[str, float]:
    """Median tokens per second: decoding one sequence, and prefilling a prompt."""
    length = min(PREFILLED, engine.config.n_positions - DECODED)
    prompt = [index % engine.config.vocab_size for index in range(length)]
    runs = [
        engine.generate(
            prompt,
            max_new_tokens=DECODED,
            sampling=gpt2edge.GREEDY,
            stop=StopParams(ignore_eos=True),
        ).timing
        for _ in range(REPEATS + 1)
    ][1:]
    decode = sorted(run.decode_tps for run in runs)[REPEATS // 2]
    prefill = sorted(length / run.ttft_s for run in runs)[REPEATS // 2]
    return {"decode_tps": decode, "prefill_tps": prefill}


def measure(
    reference: gpt2edge.Engine, fp32: ModelDir, recipe: str, out: Path, token_ids: list[int]
) -> dict[str, Any]:
    """Quantize ``fp32`` by ``recipe`` and compare it with ``reference``."""
    started = perf_counter()
    chosen = mixed_recipe(fp32, INT4, mean_bits=5) if recipe == MIXED else RECIPES[recipe]
    model = quantize(fp32, out, recipe=chosen)
    seconds = perf_counter() - started
    engine = gpt2edge.load(model.path)
    loss = compare(reference, engine, token_ids, context=min(256, fp32.config.n_positions))
    row = {"recipe": recipe, "bytes": model.nbytes, "quantize_s": seconds}
    return {**row, **asdict(loss), **speeds(engine)}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| model | recipe | MB | perplexity | increase | KL | top-1 | decode, tok/s | prefill |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        increase = row["perplexity_increase"]
        lines.append(
            f"| {row['model']} | {row['recipe']} | {row['bytes'] / 1e6:.2f} "
            f"| {row['perplexity_b']['value']:.3f} "
            f"| {increase['value']:+.3%} ± {increase['standard_error']:.3%} "
            f"| {row['kl']['value']:.6f} | {row['top1_agreement']['value']:.2%} "
            f"| {row['decode_tps']:,.0f} | {row['prefill_tps']:,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="held-out UTF-8 text")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--recipes", nargs="+", default=[*RECIPES, MIXED])
    parser.add_argument("--twin", action="store_true", help="also the outlier twin")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {"model": export_checkpoint(args.checkpoint, folder / "model")}
        if args.twin:
            make_twin(args.checkpoint, folder / "twin-hf", channels=3, seed=0)
            models["twin"] = export_checkpoint(folder / "twin-hf", folder / "twin")
        reference = gpt2edge.load(models["model"].path)
        token_ids = reference.encode(args.text.read_text(encoding="utf-8"))[: args.tokens]
        for label, fp32 in models.items():
            for recipe in args.recipes:
                row = measure(reference, fp32, recipe, folder / f"{label}-{recipe}", token_ids)
                rows.append({"model": label, **row})
                print(f"{label} {recipe}: KL {row['kl']['value']:.6f}", file=sys.stderr)
    where = provenance("python benchmarks/quality.py", available_threads())
    with args.out.open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({**row, "checkpoint": args.checkpoint.name, **where}) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
