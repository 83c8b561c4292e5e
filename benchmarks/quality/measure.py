"""Quality of every recipe beside llama.cpp and Optimum: the same checkpoint, the same tokens.

    python -m benchmarks.quality.measure CHECKPOINT --text HELD_OUT.txt [--twin] [--peers ENVS]
    python -m benchmarks.quality.measure CHECKPOINT --text HELD_OUT.txt --blimp BLiMP.zip
    python -m benchmarks.quality.measure training/models/game24-* --problems 100 --twin [--publish]
    python -m benchmarks.quality.measure CHECKPOINT ... --speed [--publish]

Each row: bytes of graph and weights, perplexity, its paired increase over float32, KL divergence,
top-1 agreement, BLiMP accuracy where the archive is given. ``--problems`` is for solvers, which
were trained on solutions alone: only these are scored, and the greedy answers checked. None of it
depends on how busy the machine is; ``--speed`` is the pass that does, over our recipes alone, and
wants a quiet one. ``--publish`` puts the rows into ``results/`` beside those of other models and
systems, and the table into ``README.md``. Peers need their environments: see ``peers/setup.sh``.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

import gpt2edge
from benchmarks.common.fingerprint import ROOT, add_publish, provenance
from benchmarks.common.outlier_twin import make_twin
from benchmarks.common.recipes import INT8_CACHE, chosen_recipe
from benchmarks.common.report import publish
from benchmarks.common.result_files import RESULTS, Row, folder_name, read_rows, text_facts
from benchmarks.common.systems import environment_python
from benchmarks.quality.fidelity import (
    PEERS,
    Logits,
    MinimalPairs,
    Peer,
    Reference,
    engine_logits,
    windows,
)
from benchmarks.search.exam import Solved, Writer, engine_writer, exam_of, logits_writer
from gpt2edge.evaluate import read_blimp
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import GRAPH_FILE, WEIGHTS_FILE, ModelDir
from gpt2edge.quant import MIXED, RECIPES, quantize
from gpt2edge.runtime.system.threads import available_threads
from gpt2edge.runtime.text.stopping import StopParams

EVERY: Final = (*RECIPES, MIXED, *(name + INT8_CACHE for name in (*RECIPES, MIXED)))
WIKITEXT: Final = "wiki.test.raw"
DECODED, PREFILLED, REPEATS = 64, 256, 5


@dataclass(frozen=True, slots=True)
class Judge:
    """What every system is asked; the figures come back as parts of a row."""

    fp32: gpt2edge.Engine
    reference: Reference
    facts: Row
    pairs: MinimalPairs | None = None
    solved: Solved | None = None

    def figures(self, logits: Logits, write: Writer) -> Row:
        """Figures of one system."""
        found = {**self.facts, **self.reference.compare(logits)}
        if self.pairs:
            found |= self.pairs.compare(logits)
        if self.solved:
            found |= self.solved.compare(write)
        return found

    def engine_figures(self, engine: gpt2edge.Engine) -> Row:
        """Figures of one of our engines."""
        return self.figures(engine_logits(engine), engine_writer(engine))

    def peer_figures(self, peer: Peer) -> Row:
        """Figures of a peer, which gives logits and nothing else."""
        return self.figures(peer.logits, logits_writer(peer.logits, self.fp32))


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
            yield {**facts, "peer_versions": peer.facts["versions"], **judge.peer_figures(peer)}


def speeds(engine: gpt2edge.Engine) -> Row:
    """Median tokens per second: decoding one sequence, and prefilling a prompt."""
    positions = engine.config.n_positions
    length = min(PREFILLED, positions * 3 // 4)
    new = min(DECODED, positions - length)
    prompt = [index % engine.config.vocab_size for index in range(length)]
    stop = StopParams(ignore_eos=True)
    runs = [
        engine.generate(prompt, max_new_tokens=new, sampling=gpt2edge.GREEDY, stop=stop).timing
        for _ in range(REPEATS + 1)
    ][1:]
    decode = sorted(run.decode_tps for run in runs)[REPEATS // 2]
    prefill = sorted(length / run.ttft_s for run in runs)[REPEATS // 2]
    return {"decode_tps": decode, "prefill_tps": prefill}


def judge_of(fp32: gpt2edge.Engine, name: str, args: argparse.Namespace) -> Judge:
    """The text, and BLiMP where it is given, or a solver's exam, as ``fp32`` reads them."""
    logits = engine_logits(fp32)
    if args.problems:
        exam = exam_of(name, args.problems)
        solved = Solved(exam, engine_writer(fp32))
        return Judge(fp32, Reference(logits, exam.windows(fp32.encode)), {}, solved=solved)
    token_ids = fp32.encode(args.text.read_text(encoding="utf-8"))[: args.tokens]
    context = min(args.context, fp32.config.n_positions)
    reference, pairs = Reference(logits, windows(token_ids, context)), None
    if args.blimp:
        bos = fp32.config.bos_token_id
        assert bos is not None, "BLiMP's sentences follow a begin-of-text token"
        pairs = MinimalPairs(logits, fp32.encode, bos, read_blimp(args.blimp, args.blimp_pairs))
    return Judge(fp32, reference, {"context": context}, pairs)


def rows_of(source: Path, args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """All rows of the checkpoint ``source``, and of its twin."""
    sources = {"plain": source}
    if args.twin:
        sources["twin"] = folder / "twin-hf"
        make_twin(source, sources["twin"], channels=3, seed=0)
    judge: Judge | None = None
    for label, checkpoint in sources.items():
        work = folder / label
        fp32 = export_checkpoint(checkpoint, work / "fp32")
        if args.speed:
            found = our_rows(fp32, args.recipes, work, speeds)
        else:
            engine = gpt2edge.load(fp32.path)
            judge = judge or judge_of(engine, source.name, args)  # plain: the twin's reference too
            found = our_rows(fp32, args.recipes, work, judge.engine_figures)
        for row in found:
            yield {"model": source.name, "outliers": label, **row}
        if args.peers and judge:
            for row in peer_rows(args.peers, checkpoint, judge, work):
                yield {"model": source.name, "outliers": label, **row}


def merged(name: str, rows: list[Row]) -> list[Row]:
    """The last publication's rows of models there are, with these in the place of their like.

    Sorted by model, outliers, and ours before the peers.
    """

    def key(row: Row) -> tuple[str, ...]:
        return row["model"], row["outliers"], row["system"]

    def place(row: Row) -> tuple[str, str, bool]:
        return row["model"], row["outliers"], not row["system"].startswith("gpt2edge ")

    path = RESULTS / f"{name}.jsonl"
    last = read_rows(path) if path.is_file() else []
    kept = {key(row): row for row in last if (ROOT / "training" / "models" / row["model"]).is_dir()}
    return sorted({**kept, **{key(row): row for row in rows}}.values(), key=place)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="CHECKPOINT")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--text", type=Path, help=f"held-out UTF-8 text; {WIKITEXT} has its table")
    given.add_argument("--problems", type=int, metavar="N", help="a solver's first N test problems")
    given.add_argument("--speed", action="store_true", help="measure speed, and nothing else")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--context", type=int, default=512, help="tokens in a window")
    parser.add_argument("--blimp", type=Path, metavar="ZIP", help="also BLiMP's minimal pairs")
    parser.add_argument("--blimp-pairs", type=int, default=30, help="of each paradigm")
    parser.add_argument("--recipes", nargs="*", default=EVERY, choices=EVERY, metavar="NAME")
    parser.add_argument("--twin", action="store_true", help="also the outlier twin")
    parser.add_argument("--peers", type=Path, metavar="ENVS", help="also the peers built there")
    add_publish(parser)
    return parser.parse_args()


def command_of(args: argparse.Namespace) -> str:
    """What was run, without the paths of this machine."""
    words = ["python -m benchmarks.quality.measure", *map(folder_name, args.checkpoints)]
    if args.problems:
        words.append(f"--problems {args.problems}")
    elif args.speed:
        words.append("--speed")
    else:
        words.append(f"--text {args.text.name} --tokens {args.tokens} --context {args.context}")
    if args.blimp:
        words.append(f"--blimp BLiMP.zip --blimp-pairs {args.blimp_pairs}")
    if tuple(args.recipes) != EVERY:
        words.append(f"--recipes {' '.join(args.recipes)}")
    words += ["--twin"] * args.twin + ["--peers ENVS"] * bool(args.peers)
    return " ".join(words)


def table_of(args: argparse.Namespace) -> str:
    """The table that these rows belong to; a text read by everyone has one of its own."""
    if args.speed:
        return "quality-speed"
    if args.problems:
        return "quality-solvers"
    return "quality-wikitext" if args.text.name == WIKITEXT else "quality"


def main() -> None:
    """Measure, print one line a row, publish."""
    args = parse_arguments()
    table = table_of(args)
    where = provenance(command_of(args), available_threads())
    if args.text:
        where |= text_facts(args.text)
    rows = []
    for checkpoint in args.checkpoints:
        with tempfile.TemporaryDirectory() as folder:
            for row in rows_of(checkpoint, args, Path(folder)):
                rows.append({**row, **where})
                figures = {key: row[key] for key in row if isinstance(row[key], float)}
                shown = ", ".join(f"{key} {value:.6g}" for key, value in figures.items())
                print(f"{row['model']} {row['outliers']} {row['system']}: {shown}", flush=True)
    if args.publish:
        publish(table, merged(table, rows))


if __name__ == "__main__":
    main()
