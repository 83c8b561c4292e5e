"""Work that need not be done: guessed tokens, shared prompts, many requests at once.

    python -m benchmarks.speed.shortcuts [FOLDER ...]    # default: 124M, random weights

Each row is two ways to the same completions, in turn, the first as plain as can be. Random weights
write nothing worth guessing, so a logits processor makes the model write a given text, in both
ways: an edited source file and quotes (copies of the prompt), and a tale that the bundled model
drew (free text). The forward calls, and what is guessed right, are those of such texts.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np

from benchmarks.common.fingerprint import ROOT, add_publish, provenance
from benchmarks.common.report import publish, shortcuts_table
from benchmarks.common.result_files import Row, folder_name, write_rows
from benchmarks.common.variants import prepare
from gpt2edge.runtime.arrays import Logits
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.decoding.scheduler import Scheduler
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import DraftModel, PromptLookup, RuntimeOptions
from gpt2edge.runtime.sampling.params import GREEDY, SamplingParams
from gpt2edge.runtime.sampling.processors import LogitsProcessor
from gpt2edge.runtime.system.threads import available_threads
from gpt2edge.runtime.text.stopping import StopParams

TO_THE_END: Final = StopParams(ignore_eos=True)
SAMPLED: Final = SamplingParams(temperature=0.8, top_k=50, top_p=0.95, seed=1)
Way = Callable[[], tuple[int, float]]
"""Does the work, and says how many tokens came of it in how many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Two ways to the same tokens."""

    name: str
    plain: Way
    shortcut: Way

    def row(self, repeats: int, at_least_s: float) -> Row:
        """Seconds of both, in turn, after one round to warm up: so often, and for so long."""
        samples: dict[str, list[float]] = {"plain": [], "shortcut": []}
        ways = [("plain", self.plain), ("shortcut", self.shortcut)]
        tokens = sum(way()[0] for _, way in ways) // 2
        while len(samples["plain"]) < repeats or sum(map(sum, samples.values())) < at_least_s:
            ways.reverse()
            for name, way in ways:
                samples[name].append(way()[1])
        ratios = [plain / other for plain, other in zip(*samples.values(), strict=True)]
        return {
            "case": self.name,
            "plain_ts": tokens / median(samples["plain"]),
            "shortcut_ts": tokens / median(samples["shortcut"]),
            "ratio": median(ratios),
            "ratios": ratios,
        }


def forced(prompt_length: int, text: Sequence[int]) -> LogitsProcessor:
    """Makes a model write ``text``."""

    def processor(history: Any, logits: Logits) -> Logits:
        logits[text[len(history) - prompt_length]] = np.float32(1e9)
        return logits

    return processor


def writes(engine: Engine, prompt: list[int], text: list[int]) -> Way:
    """Write ``text`` after ``prompt``; the prefill is not counted."""
    processors = [forced(len(prompt), text)]

    def way() -> tuple[int, float]:
        done = engine.generate(
            prompt,
            max_new_tokens=len(text),
            sampling=GREEDY,
            stop=TO_THE_END,
            processors=processors,
        )
        assert list(done.token_ids) == text
        return len(text) - 1, done.timing.decode_s

    return way


def timed(work: Callable[[], int]) -> Way:
    """All of what ``work`` does, which says how many tokens it wrote."""

    def way() -> tuple[int, float]:
        started = perf_counter()
        tokens = work()
        return tokens, perf_counter() - started

    return way


def texts(teller: Engine) -> dict[str, tuple[list[int], list[int]]]:
    """Prompts and what is to be written: an edit, quotes, a tale."""
    source = (ROOT / "runtime" / "speculative" / "cost_model.py").read_text(encoding="utf-8")[
        600:1700
    ]
    edited = source.replace("seconds", "duration").replace("self.slope", "self.rise")
    letter = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")[:1100]
    sentences = [sentence.strip() for sentence in letter.split(".") if len(sentence) > 60]
    quotes = "".join(f'It says: "{sentence}." That is the point.\n' for sentence in sentences)
    tale = teller.generate(
        "Once upon a time", max_new_tokens=300, sampling=replace(SAMPLED, top_k=0), stop=TO_THE_END
    )
    opening = teller.encode("Once upon a time")
    return {
        "edit of a source file": (teller.encode(source), teller.encode(edited)[:400]),
        "summary with quotes": (teller.encode(letter), teller.encode(quotes)[:400]),
        "free text": (opening, list(tale.token_ids)),
    }


def requests(vocab_size: int, count: int) -> list[tuple[list[int], int]]:
    """Prompts of 8 to 200 tokens, each with 8 to 128 tokens to write."""
    random = np.random.default_rng(0)
    lengths = random.integers((8, 8), (201, 129), (count, 2))
    return [(random.integers(vocab_size - 1, size=p).tolist(), int(n)) for p, n in lengths]


def mixed(engine: Engine, count: int) -> tuple[Way, Way]:
    """``count`` requests one by one, and together."""
    given = requests(engine.config.vocab_size, count)

    def one_by_one() -> int:
        for prompt, new in given:
            engine.generate(prompt, max_new_tokens=new, sampling=GREEDY, stop=TO_THE_END)
        return sum(new for _, new in given)

    def together() -> int:
        requests = [
            engine.request(prompt, max_new_tokens=new, sampling=GREEDY, stop=TO_THE_END)
            for prompt, new in given
        ]
        longest = max(request.generations[0].cached_tokens for request in requests)
        rows = min(len(requests), engine.affordable_rows(longest))
        scheduler = Scheduler(engine.decoder(rows=rows, max_length=longest))
        for request in requests:
            scheduler.add(request)
        return sum(1 for _ in scheduler.run())

    return timed(one_by_one), timed(together)


def best_of(engine: Engine, n: int) -> tuple[Way, Way]:
    """``n`` samples of a prompt of 200 tokens, one by one and together."""
    prompt = requests(engine.config.vocab_size, 1)[0][0][:1] * 200
    arguments: dict[str, Any] = {"max_new_tokens": 64, "sampling": SAMPLED, "stop": TO_THE_END}

    def one_by_one() -> int:
        return sum(len(engine.generate(prompt, **arguments).token_ids) for _ in range(n))

    def together() -> int:
        return sum(len(c.token_ids) for c in engine.generate_batch([prompt], n=n, **arguments))

    return timed(one_by_one), timed(together)


def system_prompt(engine: Engine, caching: Engine) -> tuple[Way, Way]:
    """8 questions of 12 tokens after the same 500, one token each: the time to the first."""
    random = np.random.default_rng(1)
    vocab_size = engine.config.vocab_size
    system = random.integers(vocab_size - 1, size=500).tolist()

    def way(over: Engine) -> Way:
        def ask() -> int:
            for _ in range(8):
                question = random.integers(vocab_size - 1, size=12).tolist()
                over.generate([*system, *question], max_new_tokens=1, sampling=GREEDY)
            return 8

        return timed(ask)

    return way(engine), way(caching)


def cases(folder: Path, options: RuntimeOptions, draft: Path | None, count: int) -> list[Case]:
    """All of them over one model."""
    engine = Engine(folder, options)
    lookup = Engine(folder, replace(options, speculation=PromptLookup()))
    caching = Engine(folder, replace(options, prompt_cache_bytes=1 << 28))
    found = []
    for name, (prompt, text) in texts(Engine(BUNDLED_MODEL)).items():
        plain = writes(engine, prompt, text)
        guessing = [("prompt lookup", lookup)]
        if draft is not None:
            drafting = Engine(folder, replace(options, speculation=DraftModel(draft)))
            guessing.append(("draft model", drafting))
        for how, other in guessing:
            found.append(
                Case(name=f"{how}, {name}", plain=plain, shortcut=writes(other, prompt, text))
            )
    for name, (plain, shortcut) in {
        "a system prompt of 500 tokens, known": system_prompt(engine, caching),
        "16 samples of a prompt of 200 tokens": best_of(engine, 16),
        f"{count} mixed requests": mixed(engine, count),
    }.items():
        found.append(Case(name=name, plain=plain, shortcut=shortcut))
    return found


def main() -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--draft", type=Path, help="folder of a draft model")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains it")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15, help="that a case takes at least")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--json", action="store_true")
    add_publish(parser)
    args = parser.parse_args()
    folders = args.folders or [prepare(args.work, "124M")[1]]
    names = " ".join(map(folder_name, args.folders))
    shared = provenance(
        f"python -m benchmarks.speed.shortcuts {names} --repeats {args.repeats}", args.threads
    )
    options = RuntimeOptions(threads=args.threads)
    rows = [
        {**shared, "model": folder.name, **case.row(args.repeats, args.seconds)}
        for folder in folders
        for case in cases(folder, options, args.draft, args.requests)
        if args.only in case.name
    ]
    write_rows(args.work / "shortcuts.jsonl", rows)
    print("\n".join(map(json.dumps, rows)) if args.json else shortcuts_table(rows))
    if args.publish:
        publish("shortcuts", rows)


if __name__ == "__main__":
    main()
