"""Cold start and memory: processes started in turn, from nothing to their first token.

    python -m benchmarks.speed.startup --recipes int4 int8 [--peers llamacpp:q4_0 ...] [--publish]

A cold start runs from the start of the process to the arrival of its first token, after a prompt
of 32: interpreter, libraries, model and prefill. Files are in the system's cache, and modules are
compiled, as pip installs them; the first turn, which is not counted, compares our model's files
with their checksums. gpt2edge is there twice: as a command, and as a Python program like the peers.
llama.cpp is, too, where its own command is installed (``--llama-cli``, by default llama-completion
or llama-cli of the PATH): it reads 32 letters by a vocabulary of bytes, where ours reads 32 ids.
The ratios are of commands to commands, and of programs to programs. Peak memory is that of such a
program after 64 more tokens, one sequence, the median of the turns; a cache or a context is no
longer than the model's.
"""

import argparse
import json
import shutil
import string
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final, TypeAlias

from benchmarks.common.fingerprint import ROOT, add_publish, provenance
from benchmarks.common.plan import Test
from benchmarks.common.report import COMMAND, publish, startup_table
from benchmarks.common.result_files import Row, write_rows
from benchmarks.common.systems import System, Worker, installed_environment
from benchmarks.common.variants import add_arguments, all_systems, quality_of, size_and_recipes
from gpt2edge.evaluate.speed import percentile

_ONE = ("--rows", "1", "--samples", "1")
TEST = Test.of("tg64@d32")
LETTERS: Final = (string.ascii_lowercase + string.ascii_uppercase)[: TEST.n_depth]
"""A prompt of as many tokens, where every byte is one."""
Commands: TypeAlias = dict[tuple[str, ...], list[str]]
"""A system's command by how its worker is started."""


def cold_worker(system: System, request: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Seconds to the first token, and the answer to a longer request after it."""
    started = perf_counter()
    worker = Worker(system, *_ONE)
    worker.ask({**request, "new": 0})
    seconds = perf_counter() - started
    answer = worker.ask(request)
    worker.close()
    return seconds, {**worker.facts, "label": worker.label, "peak": answer["peak_rss_bytes"]}


def our_command(folder: Path, prompt: Sequence[int], threads: int) -> list[str]:
    """``gpt2edge generate`` for one token."""
    script = Path(sys.executable).with_name("gpt2edge")
    command = [str(script)] if script.is_file() else [sys.executable, "-m", "gpt2edge"]
    command += ["generate", "-m", str(folder), "--no-echo", "-t", str(threads), "--token-ids"]
    return [*command, " ".join(map(str, prompt)), "-n", "1", "--temperature", "0"]


def llama_command(llama_cli: str, system: System, threads: int) -> list[str]:
    """llama.cpp's own command for one token of the same weights, on a file with a vocabulary.

    Makes that file where it is missing.
    """
    python, _, module, checkpoint, _, variant, *_ = system.command
    arguments = ["--variant", variant, "--threads", str(threads), "--prepare", "--words"]
    subprocess.run([python, "-m", module, checkpoint, *arguments], cwd=ROOT, check=True)
    command = [llama_cli, "-m", str(Path(checkpoint) / f"model-{variant}-words.gguf")]
    command += ["-p", LETTERS, "-n", "1", "--temperature", "0", "-t", str(threads)]
    return [*command, "--ignore-eos", "--no-display-prompt", "-no-cnv"]


def cold_command(command: Sequence[str]) -> float:
    """Seconds until a command prints. Raises SystemExit where it fails or prints nothing."""
    started = perf_counter()
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=installed_environment(),
        bufsize=0,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        seconds = perf_counter() - started
        process.stdout.read()
    if process.returncode or not first:
        raise SystemExit(f"{' '.join(command)} failed")
    return seconds


def commands_of(systems: Sequence[System], args: argparse.Namespace, vocab: int) -> Commands:
    """The commands of those systems that have one."""
    (prompt,) = TEST.request(vocab)["prompts"]
    found: Commands = {}
    for system in systems:
        worker = system.command[2].rpartition(".")[2]
        if worker == "gpt2edge_engine":
            found[tuple(system.command)] = our_command(
                Path(system.command[3]), prompt, args.threads
            )
        elif worker == "llamacpp" and args.llama_cli:
            found[tuple(system.command)] = llama_command(args.llama_cli, system, args.threads)
    return found


def run(systems: Sequence[System], args: argparse.Namespace, vocab: int) -> list[Row]:
    """One row a system, and one more for each that has a command."""
    request, commands = TEST.request(vocab), commands_of(systems, args, vocab)
    times: dict[str, list[float]] = {}
    peaks: dict[str, list[int]] = {}
    facts: dict[str, dict[str, Any]] = {}
    for turn in range(args.repeats + 1):
        for system in systems if turn % 2 == 0 else list(reversed(systems)):
            seconds, own = cold_worker(system, request)
            found = {own["label"]: seconds}
            facts[own["label"]] = own
            peaks.setdefault(own["label"], []).append(own["peak"])
            if command := commands.get(tuple(system.command)):
                label = f"{own['label']}{COMMAND}"
                found[label] = cold_command(command)
                facts[label] = {**own, "label": label}
            for label, value in found.items() if turn else ():  # the first turn warms the files up
                times.setdefault(label, []).append(value)
                print(f"{turn} {label:28s} {value:6.3f} s", file=sys.stderr)
    return [
        _row(facts[label], times[label], peaks.get(label))
        for label in sorted(times, key=list(facts).index)
    ]


def _row(facts: dict[str, Any], seconds: Sequence[float], peaks: Sequence[int] | None) -> Row:
    variant = facts.get("recipe", facts["variant"])
    return {
        **{key: value for key, value in facts.items() if key not in ("peak", "load_s")},
        "perplexity_increase": quality_of(facts["system"], variant),
        "samples_s": list(seconds),
        "p50_s": median(seconds),
        "p95_s": percentile(seconds, 0.95),
        "peak_rss_bytes": int(median(peaks)) if peaks else None,
    }


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--repeats", type=int, default=5)
    installed = shutil.which("llama-completion") or shutil.which("llama-cli")
    parser.add_argument(
        "--llama-cli", default=installed, help="llama.cpp's command, to be timed too"
    )
    parser.add_argument("--json", action="store_true", help="rows on stdout instead of the table")
    add_publish(parser)
    args = parser.parse_args()
    systems, vocab = all_systems(args)
    command = f"python -m benchmarks.speed.startup{size_and_recipes(args)} --repeats {args.repeats}"
    shared = {"model": f"{args.size}, random weights", **provenance(command, args.threads)}
    rows = [{**shared, **row} for row in run(systems, args, vocab)]
    write_rows(args.work / "startup.jsonl", rows)
    print("\n".join(map(json.dumps, rows)) if args.json else startup_table(rows))
    if args.publish:
        publish("startup", rows)


if __name__ == "__main__":
    main()
