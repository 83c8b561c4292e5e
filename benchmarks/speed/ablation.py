"""What each part of a recipe adds: parts switched on one after the other, plain and with outliers.

python -m benchmarks.speed.ablation CHECKPOINT --text HELD_OUT.txt [--publish]
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import gpt2edge
from benchmarks.common.fingerprint import add_publish, provenance
from benchmarks.common.outlier_twin import make_twin
from benchmarks.common.report import publish
from benchmarks.common.result_files import Row, folder_name, text_facts
from benchmarks.quality.fidelity import Reference, engine_logits, windows
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import GRAPH_FILE, WEIGHTS_FILE
from gpt2edge.quant import INT4, INT8, INT8_BLOCK, QuantRecipe, quantize
from gpt2edge.runtime.system.threads import available_threads

_INT4: Final = replace(INT4, rounding="nearest", equalize=False, wide=())
_INT8: Final = replace(INT8, rounding="nearest", equalize=False, by_row=(), wide=(), block_size=32)
_SCALED: Final = replace(_INT8, equalize=True, by_row=INT8.by_row, wide=INT8.wide)
_BLOCK: Final = replace(INT8_BLOCK, rounding="nearest", equalize=False)
STEPS: Final[tuple[tuple[str, QuantRecipe], ...]] = (
    ("int4, nearest", _INT4),
    ("+ equalization", replace(_INT4, equalize=True)),
    ("+ scale search", replace(_INT4, equalize=True, rounding="search")),
    ("+ error compensation", replace(_INT4, equalize=True, rounding="compensate")),
    ("+ first attention in 8 bits = int4", INT4),
    ("int8, nearest", _INT8),
    ("+ equalization", replace(_INT8, equalize=True)),
    ("+ a scale for each row behind attention and GELU", replace(_SCALED, wide=())),
    ("+ first attention in blocks", _SCALED),
    ("+ error compensation", replace(_SCALED, rounding=INT8.rounding)),
    ("+ head in blocks of 128 = int8", INT8),
    ("int8-block, nearest", _BLOCK),
    ("+ equalization", replace(_BLOCK, equalize=True)),
    ("+ error compensation = int8-block", INT8_BLOCK),
)
"""Each line has what the lines before it have, up to the next name without a plus."""


def rows_of(checkpoint: Path, text: Path, tokens: int, folder: Path) -> Iterator[Row]:
    """A row for each step, on the checkpoint and on its twin."""
    make_twin(checkpoint, folder / "twin-hf", channels=3, seed=0)
    models = {
        "plain": export_checkpoint(checkpoint, folder / "plain"),
        "twin": export_checkpoint(folder / "twin-hf", folder / "twin"),
    }
    engine = gpt2edge.load(models["plain"].path)
    token_ids = engine.encode(text.read_text(encoding="utf-8"))[:tokens]
    context = min(512, engine.config.n_positions)
    reference = Reference(engine_logits(engine), windows(token_ids, context))
    for at, (name, recipe) in enumerate(STEPS):
        for label, fp32 in models.items():
            model = quantize(fp32, folder / f"{label}-{at}", recipe=recipe)
            files = model.manifest.files
            nbytes = files[GRAPH_FILE].bytes + files[WEIGHTS_FILE].bytes
            figures = reference.compare(engine_logits(gpt2edge.load(model.path)))
            yield {"step": name, "outliers": label, "bytes": nbytes, **figures}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="held-out UTF-8 text")
    parser.add_argument("--tokens", type=int, default=8000)
    add_publish(parser)
    args = parser.parse_args()
    command = (
        f"python -m benchmarks.speed.ablation {folder_name(args.checkpoint)} "
        f"--text {args.text.name} --tokens {args.tokens}"
    )
    where = {**text_facts(args.text), **provenance(command, available_threads())}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows_of(args.checkpoint, args.text, args.tokens, Path(folder)):
            rows.append({**row, **where})
            print(f"{row['outliers']} {row['step']}: KL {row['kl']:.6f}", flush=True)
    if args.publish:
        publish("ablation", rows)


if __name__ == "__main__":
    main()
