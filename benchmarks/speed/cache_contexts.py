"""What an int8 KV cache costs at short and long contexts.

    python -m benchmarks.speed.cache_contexts MODEL [--publish]  # a float32 folder, e.g. 124M
    python -m benchmarks.speed.cache_contexts MODEL --text HELD_OUT.txt

KL divergence from float32 with 8-bit blocks rounded to nearest, once with a float32 cache and once
with an int8 one, on the same tokens in windows of 64, 512 and 1,000. Without a text tokens are
random, which is all that random weights deserve.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

import gpt2edge
from benchmarks.common.fingerprint import add_publish, provenance
from benchmarks.common.report import publish
from benchmarks.common.result_files import Row, folder_name, text_facts
from benchmarks.quality.fidelity import Reference, engine_logits, windows
from gpt2edge.model_dir import ModelDir
from gpt2edge.quant import INT8_BLOCK, quantize
from gpt2edge.runtime.system.threads import available_threads

CONTEXTS: Final = (64, 512, 1000)
CACHES: Final = ("float32", "int8")


def rows_of(source: ModelDir, text: Path | None, tokens: int, work: Path) -> Iterator[Row]:
    """A row for each context that the model has."""
    fp32 = gpt2edge.load(source.path)
    if text:
        token_ids = fp32.encode(text.read_text(encoding="utf-8"))[:tokens]
    else:
        token_ids = np.random.default_rng(1).integers(0, fp32.config.vocab_size, tokens).tolist()
    recipe = replace(INT8_BLOCK, rounding="nearest")
    models = {
        cache: gpt2edge.load(
            quantize(source, work / cache, recipe=replace(recipe, kv_cache=cache)).path
        )
        for cache in CACHES
    }
    for context in (each for each in CONTEXTS if each <= fp32.config.n_positions):
        reference = Reference(engine_logits(fp32), windows(token_ids, context))
        found = {name: reference.compare(engine_logits(each)) for name, each in models.items()}
        yield {
            "context": context,
            "tokens": found["int8"]["tokens"],
            **{f"{key}_{name}": row[key] for name, row in found.items() for key in ("kl", "kl_se")},
            **{f"increase_{name}": row["increase"] for name, row in found.items()},
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="an exported float32 folder")
    parser.add_argument("--text", type=Path, help="held-out UTF-8 text")
    parser.add_argument("--tokens", type=int, default=2000)
    add_publish(parser)
    args = parser.parse_args()
    source = ModelDir.open(args.model)
    command = f"python -m benchmarks.speed.cache_contexts {folder_name(args.model)}"
    command += f" --tokens {args.tokens}"
    command += f" --text {args.text.name}" if args.text else ""
    text = text_facts(args.text) if args.text else {}
    where = {"model": args.model.name, **text, **provenance(command, available_threads())}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows_of(source, args.text, args.tokens, Path(folder)):
            rows.append({**row, **where})
            print(row, flush=True)
    if args.publish:
        publish("cache-contexts", rows)


if __name__ == "__main__":
    main()
