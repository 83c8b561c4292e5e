"""Quality of every recipe beside llama.cpp and Optimum: the same checkpoint, the same tokens.

    python benchmarks/quality.py CHECKPOINT --text HELD_OUT.txt [--twin] [--peers ENVS] [--publish]

Each row: bytes of graph and weights, perplexity, its paired increase over float32, KL divergence,
top-1 agreement, BLiMP accuracy where the archive is given. None of it depends on how busy the
machine is; ``--speed`` is the pass that does, over our recipes alone, and wants a quiet one.
``--publish`` puts the rows into ``results/`` beside those of other checkpoints, the table into
``README.md`` and the plots beside it. Peers need their environments: see ``peers/setup.sh``.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from fidelity import PEERS, Logits, Peer, Reference, blimp_accuracy, engine_logits, read_blimp
from fingerprint import provenance
from outlier_twin import make_twin
from report import RESULTS, Row, publish, read_rows
from systems import environment_python

import gpt2edge
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import GRAPH_FILE, WEIGHTS_FILE, ModelDir
from gpt2edge.quant import INT4, MIXED, RECIPES, QuantRecipe, mixed_recipe, quantize
from gpt2edge.runtime.stopping import StopParams
from gpt2edge.runtime.threads import available_threads

INT8_CACHE: Final = "+int8-cache"
DECODED, PREFILLED, REPEATS = 64, 256, 5


@dataclass(frozen=True, slots=True)
class Judge:
    """What every system is asked; the figures come back as parts of a row."""

    reference: Reference
    blimp: Callable[[Logits], Any] | None

    def figures(self, logits: Logits) -> Row:
        """Figures of one system."""
        found = self.reference.compare(logits)
        found["context"] = self.reference.context
        return {**found, **(self.blimp(logits) if self.blimp else {})}

    def engine_figures(self, engine: gpt2edge.Engine) -> Row:
        """Figures of one of our engines."""
        return self.figures(engine_logits(engine))


def chosen_recipe(fp32: ModelDir, name: str) -> QuantRecipe:
    """A recipe by its name, which may end in ``+int8-cache``."""
    plain = name.removesuffix(INT8_CACHE)
    recipe = mixed_recipe(fp32, INT4, mean_bits=5) if plain == MIXED else RECIPES[plain]
    return replace(recipe, kv_cache="int8") if name.endswith(INT8_CACHE) else recipe


def our_rows(
    fp32: ModelDir, names: Sequence[str], work: Path, measure: Callable[[gpt2edge.Engine], Row]
) -> Iterator[Row]:
    """A row for each recipe of ours on ``fp32``."""
    for name in names:
        started = perf_counter()
        model = quantize(fp32, work / name, recipe=chosen_recipe(fp32, name))
        seconds = perf_counter() - started
        nbytes = sum(model.manifest.files[file].bytes for file in (GRAPH_FILE, WEIGHTS_FILE))
        row = {"system": f"gpt2edge {name}", "bytes": nbytes, "quantize_s": seconds}
        yield {**row, **measure(gpt2edge.load(model.path))}


def peer_rows(envs: Path, checkpoint: Path, judge: Judge, work: Path) -> Iterator[Row]:
    """A row for each peer whose environment is in ``envs``."""
    for name, (environment, script, variant) in PEERS.items():
        python = environment_python(envs, environment)
        if python is None:
            print(f"no environment for {name} in {envs}: left out", file=sys.stderr)
            continue
        (work / name).mkdir()
        with Peer(python, script, checkpoint, variant, work / name) as peer:
            facts = {key: peer.facts[key] for key in ("system", "bytes", "settings")}
            yield {**facts, "peer_versions": peer.facts["versions"], **judge.figures(peer.logits)}


def speeds(engine: gpt2edge.Engine) -> Row:
    """Median tokens per second: decoding one sequence, and prefilling a prompt."""
    length = min(PREFILLED, engine.config.n_positions - DECODED)
    prompt = [index % engine.config.vocab_size for index in range(length)]
    stop = StopParams(ignore_eos=True)
    runs = [
        engine.generate(prompt, max_new_tokens=DECODED, sampling=gpt2edge.GREEDY, stop=stop).timing
        for _ in range(REPEATS + 1)
    ][1:]
    decode = sorted(run.decode_tps for run in runs)[REPEATS // 2]
    prefill = sorted(length / run.ttft_s for run in runs)[REPEATS // 2]
    return {"decode_tps": decode, "prefill_tps": prefill}


def judge_of(reference: gpt2edge.Engine, args: argparse.Namespace) -> Judge:
    """The text, and BLiMP where it is given, as ``reference`` reads them."""
    token_ids = reference.encode(args.text.read_text(encoding="utf-8"))[: args.tokens]
    context = min(args.context, reference.config.n_positions)
    logits = engine_logits(reference)
    blimp = None
    if args.blimp:
        pairs = read_blimp(args.blimp, args.blimp_pairs)
        bos = reference.config.bos_token_id
        assert bos is not None, "BLiMP's sentences follow a begin-of-text token"

        def blimp(found: Logits) -> Any:
            return blimp_accuracy(found, reference.encode, bos, pairs)

    return Judge(Reference(logits, token_ids, context), blimp)


def rows_of(args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """All rows of the checkpoint, and of its twin."""
    sources = {"plain": args.checkpoint}
    if args.twin:
        sources["twin"] = folder / "twin-hf"
        make_twin(args.checkpoint, sources["twin"], channels=3, seed=0)
    judge: Judge | None = None
    for label, checkpoint in sources.items():
        work = folder / label
        fp32 = export_checkpoint(checkpoint, work / "fp32")
        if args.speed:
            found = our_rows(fp32, args.recipes, work, speeds)
        else:
            engine = gpt2edge.load(fp32.path)
            judge = judge or judge_of(engine, args)  # the twin's reference is the plain model
            found = our_rows(fp32, args.recipes, work, judge.engine_figures)
        for row in found:
            yield {"model": args.name or args.checkpoint.name, "outliers": label, **row}
        if args.peers and judge:
            for row in peer_rows(args.peers, checkpoint, judge, work):
                yield {"model": args.name or args.checkpoint.name, "outliers": label, **row}


def merged(name: str, rows: list[Row]) -> list[Row]:
    """The rows of the last publication with these in the place of the same model's."""
    path = RESULTS / f"{name}.jsonl"
    models = {row["model"] for row in rows}
    earlier = read_rows(path) if path.is_file() else []
    return [*(row for row in earlier if row["model"] not in models), *rows]


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--name", help="what to call it in the tables")
    parser.add_argument("--text", type=Path, required=True, help="held-out UTF-8 text")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--context", type=int, default=512, help="tokens in a window")
    parser.add_argument("--blimp", type=Path, metavar="ZIP", help="also BLiMP's minimal pairs")
    parser.add_argument("--blimp-pairs", type=int, default=30, help="of each paradigm")
    names = [*RECIPES, MIXED]
    every = [*names, *(name + INT8_CACHE for name in names)]
    parser.add_argument("--recipes", nargs="+", default=every, choices=every, metavar="NAME")
    parser.add_argument("--twin", action="store_true", help="also the outlier twin")
    parser.add_argument("--peers", type=Path, metavar="ENVS", help="also the peers built there")
    parser.add_argument("--speed", action="store_true", help="measure speed, and nothing else")
    parser.add_argument("--publish", action="store_true", help="into results/ and README.md")
    return parser.parse_args()


def main() -> None:
    """Measure, print one line a row, publish."""
    args = parse_arguments()
    table = "quality-speed" if args.speed else "quality"
    command = " ".join(["python benchmarks/quality.py", args.name or args.checkpoint.name])
    where = provenance(command, available_threads())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows_of(args, Path(folder)):
            rows.append({**row, **where})
            figures = {key: row[key] for key in row if isinstance(row[key], float)}
            shown = ", ".join(f"{key} {value:.6g}" for key, value in figures.items())
            print(f"{row['outliers']} {row['system']}: {row['bytes']} bytes, {shown}", flush=True)
    if args.publish:
        publish(table, merged(table, rows))


if __name__ == "__main__":
    main()
