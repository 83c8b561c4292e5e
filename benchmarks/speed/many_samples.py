"""Sixteen samples of one prompt, decoded together after one prefill, beside sixteen generations.

python -m benchmarks.speed.many_samples            # GPT-2 124M with random weights, int8
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import gpt2edge
from benchmarks.common.fingerprint import ROOT, add_publish, provenance
from benchmarks.common.report import publish
from benchmarks.common.result_files import Row, source_line, write_rows
from benchmarks.common.variants import prepare
from benchmarks.quality.measure import chosen_recipe
from gpt2edge import Engine, SamplingParams
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import quantize
from gpt2edge.runtime.system.threads import available_threads
from gpt2edge.runtime.text.stopping import StopParams


def measure(engine: Engine, samples: int, prompt: int, new: int, repeats: int) -> dict[str, Any]:
    """Seconds of both ways, in turn; the first round warms up and is left out."""
    token_ids = [(7 * at + 3) % (engine.config.vocab_size - 1) for at in range(prompt)]
    text: dict[str, Any] = {"max_new_tokens": new, "stop": StopParams(ignore_eos=True)}
    seconds: dict[str, list[float]] = {"together": [], "apart": []}
    for _ in range(repeats + 1):
        started = perf_counter()
        sampling = SamplingParams(temperature=0.8, seed=1)
        engine.generate_batch([token_ids], n=samples, sampling=sampling, **text)
        seconds["together"].append(perf_counter() - started)
        started = perf_counter()
        for seed in range(samples):
            engine.generate(token_ids, sampling=SamplingParams(temperature=0.8, seed=seed), **text)
        seconds["apart"].append(perf_counter() - started)
    together, apart = (median(values[1:]) for values in seconds.values())
    return {
        "samples": samples,
        "n_prompt": prompt,
        "n_gen": new,
        "together_s": together,
        "apart_s": apart,
        "ratio": together / apart,
        "seconds": {key: values[1:] for key, values in seconds.items()},
    }


def samples_table(rows: Sequence[Row]) -> str:
    """What the samples cost together and apart."""
    lines = [
        "| model | samples | prompt | tokens each | together, s | apart, s | together / apart |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['model']} | {row['samples']} | {row['n_prompt']} | {row['n_gen']} | "
        f"{row['together_s']:.2f} | {row['apart_s']:.2f} | **{row['ratio']:.3f}** |"
        for row in rows
    ]
    return "\n".join([*lines, "", source_line(rows[0])])


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="124M")
    parser.add_argument("--recipes", nargs="+", default=["int8", "int8+int8-cache"])
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--prompt", type=int, nargs="+", default=[16, 200])
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--json", action="store_true", help="rows instead of the table")
    add_publish(parser)
    args = parser.parse_args()
    made = provenance("python -m benchmarks.speed.many_samples", args.threads)
    rows = []
    for name in args.recipes:
        folder = args.work / f"{name}-{args.size}"
        if not (folder / "manifest.json").is_file():
            _, fp32 = prepare(args.work, args.size)
            recipe = chosen_recipe(ModelDir.open(fp32), name)
            quantize(fp32, folder, recipe=recipe, overwrite=True)
        engine = gpt2edge.load(folder, threads=args.threads)
        for prompt in args.prompt:
            row = measure(engine, args.samples, prompt, args.new, args.repeats)
            rows.append({"model": f"{args.size} {name}, random weights", **made, **row})
    print("\n".join(map(json.dumps, rows)) if args.json else samples_table(rows))
    write_rows(args.work / "many_samples.jsonl", rows)
    if args.publish:
        publish("many_samples", rows, samples_table)


if __name__ == "__main__":
    main()
