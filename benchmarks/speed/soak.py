"""Mixed requests for an hour or a million tokens: memory must stay flat after the warm-up.

    python -m benchmarks.speed.soak [MODEL] --minutes 60 | --tokens 1000000 [--publish]

Streams (read to the end, left half-way, cancelled, past the context's end), batches of ragged
prompts, several samples of one prompt, beams, forked caches, scores, searches and mistakes on one
engine; on a second one prompts that a small cache remembers and forgets, with guessed tokens. All
are drawn by ``--seed``. The resident size is noted after every so many requests. The first third is
warm-up. Of the rest, the script reports the slope by Theil and Sen (the median over all pairs) and
how much the last third lies above the first; it ends with 1 where that is more than ``--allowed``
MB.
"""

import argparse
import gc
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

from benchmarks.common.fingerprint import add_publish, provenance
from benchmarks.common.report import publish, soak_table
from gpt2edge import Engine, Gpt2EdgeError, RuntimeOptions, SamplingParams, StopParams
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.options import PromptLookup
from gpt2edge.runtime.search import BestOfN, Budget, LikelihoodVerifier, MajorityVote
from gpt2edge.runtime.system.threads import available_threads

WORDS: Final = [
    "the",
    "old",
    "king",
    "went",
    "out",
    "to",
    "a",
    "wolf",
    "and",
    "said",
    "my",
    "daughter",
    "shall",
    "have",
    "gold",
]
_PAGE_LINE: Final = "VmRSS:"
_MOST_PAIRS: Final = 400


@dataclass(slots=True)
class Sample:
    """Where the process stood."""

    seconds: float
    requests: int
    tokens: int
    rss_bytes: int


@dataclass
class Load:
    """Requests of every kind, drawn from one random stream."""

    engine: Engine
    guessing: Engine
    random: random.Random
    tokens: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        """One request; those that slide cost much for few tokens, and come more seldom."""
        calls = self.calls()
        (call,) = self.random.choices(calls, [1 if call == self.slides else 8 for call in calls])
        self.tokens += call()
        self.kinds[call.__name__] += 1

    def calls(self) -> Sequence[Callable[[], int]]:
        """Every kind of request; each returns the tokens that came out, or were scored."""
        return (
            self.stream,
            self.cancelled,
            self.abandoned,
            self.batch,
            self.samples,
            self.score,
            self.mistake,
            self.search,
            self.beams,
            self.forks,
            self.slides,
            self.guesses,
        )

    def stream(self) -> int:
        """A stream to its end, perhaps at a stop string, perhaps with log-probabilities."""
        chunks = self.engine.stream(
            self._prompt(),
            max_new_tokens=self.random.randint(1, 48),
            sampling=self._sampling(),
            stop=self.random.choice([None, "said", StopParams(ignore_eos=True)]),
            logprobs=self.random.choice([None, 0, 3]),
        )
        return sum(1 for _ in chunks)

    def cancelled(self) -> int:
        """A stream that is told to end, and ends."""
        stream = self.engine.stream(self._prompt(), max_new_tokens=64, sampling=self._sampling())
        for count, _ in enumerate(stream, 1):
            if count == 5:
                stream.cancel()
        return len(stream.completion.token_ids)

    def abandoned(self) -> int:
        """A stream that nobody reads to its end."""
        stream = self.engine.stream(self._prompt(), max_new_tokens=64, sampling=self._sampling())
        return sum(1 for _ in zip(range(3), stream, strict=False))

    def batch(self) -> int:
        """Ragged prompts at once."""
        prompts = [self._prompt() for _ in range(self.random.randint(2, 12))]
        done = self.engine.generate_batch(prompts, max_new_tokens=24, sampling=self._sampling())
        return sum(len(completion.token_ids) for completion in done)

    def samples(self) -> int:
        """Several completions of one prompt."""
        count, sampling = self.random.randint(2, 8), SamplingParams(temperature=0.9)
        done = self.engine.generate_batch(
            [self._prompt()], n=count, max_new_tokens=16, sampling=sampling
        )
        return sum(len(completion.token_ids) for completion in done)

    def score(self) -> int:
        """Completions that are given."""
        scores = self.engine.score(self._prompt(), [self._prompt(), " and then"])
        return sum(len(score.token_ids) for score in scores)

    def mistake(self) -> int:
        """What must be refused, and leaves nothing behind."""
        too_long = [1] * (self.engine.config.n_positions + 1)
        wrong: list[Any] = [too_long, [self.engine.config.vocab_size], [-1]]
        try:
            self.engine.generate(self.random.choice(wrong), max_new_tokens=4)
        except (ValueError, Gpt2EdgeError):
            return 0
        raise SystemExit("a wrong request was not refused")

    def search(self) -> int:
        """A vote, or the likeliest of several samples."""
        methods = (MajorityVote(n=4), BestOfN(n=4, verifier=LikelihoodVerifier(self.engine)))
        result = self.random.choice(methods).run(
            self.engine,
            self._prompt(),
            sampling=SamplingParams(temperature=0.8, seed=self.random.randrange(1000)),
            max_new_tokens=16,
            budget=Budget(tokens=128),
        )
        return result.cost.generated_tokens

    def beams(self) -> int:
        """Beam search, whose rows change places."""
        completion = self.engine.generate(
            self._prompt(), max_new_tokens=12, sampling=SamplingParams(num_beams=3)
        )
        return len(completion.token_ids)

    def forks(self) -> int:
        """A cache by hand: a prompt's copies diverge, change places and are cut back."""
        decoder = self.engine.decoder(rows=4, max_length=96)
        token_ids = self.engine.encode(self._prompt())[:64]
        decoder.prefill(0, token_ids)
        decoder.cache.fork(0, [1, 2, 3])
        for step in range(8):
            logits = decoder.decode([self.random.choice(token_ids) for _ in range(4)])
            order = logits.max(-1).argsort().tolist()
            decoder.cache.select(order if step % 2 else [order[-1]] * 4)
        decoder.cache.truncate(0, len(token_ids))
        return 32

    def slides(self) -> int:
        """A completion that runs past the context's end."""
        length = self.engine.config.n_positions
        prompt = (self.engine.encode(self._prompt()) * length)[: length - 8]
        completion = self.engine.generate(
            prompt, max_new_tokens=16, stop=StopParams(ignore_eos=True), overflow="slide"
        )
        return len(completion.token_ids)

    def guesses(self) -> int:
        """A text that repeats its prompt, of which a part may be known from earlier ones."""
        rules = " ".join(WORDS[self.random.randrange(3) :] * 2)
        completion = self.guessing.generate(f"{rules} {self._prompt()} {rules}", max_new_tokens=24)
        return len(completion.token_ids)

    def _prompt(self) -> str:
        return " ".join(self.random.choices(WORDS, k=self.random.randint(1, 60)))

    def _sampling(self) -> SamplingParams:
        temperature = self.random.choice([0.0, 0.7, 1.0])
        return SamplingParams(temperature=temperature, top_p=0.95, seed=self.random.randrange(99))


def make_load(model: Path, *, threads: int | None, seed: int) -> Load:
    """The engines over ``model``; the guessing one remembers 4 MiB of prompts."""
    plain = RuntimeOptions(threads=threads)
    guessing = replace(plain, prompt_cache_bytes=1 << 22, speculation=PromptLookup())
    return Load(Engine(model, plain), Engine(model, guessing), random.Random(seed))


def rss() -> int:
    """Bytes of this process that are resident now. Raises SystemExit where Linux is not below."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    sizes = [line.split()[1] for line in lines if line.startswith(_PAGE_LINE)]
    if not sizes:
        raise SystemExit("this system does not tell a process's resident size in /proc")
    return 1024 * int(sizes[0])


def run(
    load: Load, done: Callable[[float, int, int], bool], *, every: int, progress: bool
) -> list[Sample]:
    """Requests until ``done(seconds, tokens, requests)``; a sample each ``every`` of them."""
    started, samples, requests = perf_counter(), [], 0
    while True:
        load.step()
        requests += 1
        seconds = perf_counter() - started
        if requests % every == 0:
            gc.collect()
            samples.append(Sample(seconds, requests, load.tokens, rss()))
            if progress:
                line = f"\r{seconds:7.0f} s  {load.tokens:9,} tokens  {rss() / 1e6:8.1f} MB"
                print(line, end="", file=sys.stderr, flush=True)
        if done(seconds, load.tokens, requests):
            return samples


def verdict(samples: Sequence[Sample]) -> dict[str, float]:
    """Growth after the first third: the last third's median over the first one's, and slopes."""
    after = samples[len(samples) // 3 :]
    third = len(after) // 3
    if not third:
        raise SystemExit(f"only {len(samples)} samples of memory; let it run for longer")
    first, last = after[:third], after[-third:]
    growth = median(s.rss_bytes for s in last) - median(s.rss_bytes for s in first)
    thinned = after[:: max(1, len(after) // _MOST_PAIRS)]
    slope = median((b.rss_bytes - a.rss_bytes) / (b.seconds - a.seconds) for a, b in pairs(thinned))
    per_token = median(
        (b.rss_bytes - a.rss_bytes) / max(1, b.tokens - a.tokens) for a, b in pairs(thinned)
    )
    return {
        "growth_bytes": growth,
        "slope_bytes_per_hour": 3600 * slope,
        "slope_bytes_per_token": per_token,
        "first_rss_bytes": after[0].rss_bytes,
        "last_rss_bytes": after[-1].rss_bytes,
        "peak_rss_bytes": max(sample.rss_bytes for sample in samples),
    }


def pairs(samples: Sequence[Sample]) -> list[tuple[Sample, Sample]]:
    """All pairs, the earlier one first."""
    return list(combinations(samples, 2))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=BUNDLED_MODEL)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float)
    length.add_argument("--tokens", type=int)
    length.add_argument("--requests", type=int)
    parser.add_argument("--allowed", type=float, default=4.0, metavar="MB")
    parser.add_argument("--every", type=int, default=20, help="requests between samples")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="the row on stdout")
    add_publish(parser)
    return parser.parse_args()


def main() -> None:
    """Run, report, and end with 1 where memory grew."""
    args = arguments()
    load = make_load(args.model, threads=args.threads, seed=args.seed)

    def done(seconds: float, tokens: int, requests: int) -> bool:
        if args.minutes is not None:
            return bool(seconds >= 60 * args.minutes)
        if args.tokens is not None:
            return bool(tokens >= args.tokens)
        return bool(requests >= args.requests)

    samples = run(load, done, every=args.every, progress=sys.stderr.isatty())
    found = verdict(samples)
    row = {
        "model": args.model.name,
        "seconds": samples[-1].seconds,
        "tokens": samples[-1].tokens,
        "requests": samples[-1].requests,
        "kinds": dict(load.kinds),
        **found,
        "allowed_bytes": 1e6 * args.allowed,
        **provenance(
            f"python -m benchmarks.speed.soak {_length(args)}", args.threads or available_threads()
        ),
    }
    print(json.dumps(row) if args.json else soak_table([row]))
    if args.publish:
        publish("soak", [row])
    if found["growth_bytes"] > 1e6 * args.allowed:
        raise SystemExit(f"memory grew by {found['growth_bytes'] / 1e6:.1f} MB after the warm-up")


def _length(args: argparse.Namespace) -> str:
    found = ((name, getattr(args, name)) for name in ("minutes", "tokens", "requests"))
    return " ".join(f"--{name} {value:g}" for name, value in found if value is not None)


if __name__ == "__main__":
    main()
