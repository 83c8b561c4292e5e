"""Calls of every kind, for many threads on one engine; as a program, for as long as wanted.

    python -m tests.runtime.threads --threads 32 --seconds 60

runs them over the bundled model and compares every result with that of one thread.
"""

import argparse
import random
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import gpt2edge
from gpt2edge import GREEDY, Engine, SamplingParams
from gpt2edge.runtime.text.stopping import StopParams

Call = Callable[[Engine], Any]


def calls() -> list[Call]:
    """Calls whose result depends on nothing but the engine."""
    warm = SamplingParams(temperature=0.9, top_k=40, seed=5)
    beams = SamplingParams(num_beams=3)
    on = StopParams(ignore_eos=True)

    def streamed(engine: Engine) -> Any:
        stream = engine.stream("The wolf", max_new_tokens=12, sampling=warm)
        return [chunk.token_id for chunk in stream]

    return [
        lambda engine: engine.generate("Once upon a time", max_new_tokens=12, sampling=GREEDY).text,
        lambda engine: engine.generate("he", max_new_tokens=20, sampling=warm, stop=on).token_ids,
        lambda engine: [
            completion.token_ids
            for completion in engine.generate_batch(
                ["a", "the"], n=2, max_new_tokens=7, sampling=warm
            )
        ],
        lambda engine: engine.generate("The king", max_new_tokens=8, sampling=beams).token_ids,
        lambda engine: engine.score("The king", [" said", " was"]),
        lambda engine: engine.perplexity("The king was old, and had three sons.").perplexity,
        streamed,
    ]


def rounds(engine: Engine, order: random.Random, count: int) -> list[tuple[int, Any]]:
    """``count`` calls in an order of their own, each with its number."""
    chosen = [order.randrange(len(calls())) for _ in range(count)]
    return [(at, calls()[at](engine)) for at in chosen]


def main() -> None:
    """Run threads until the time is over; say how many calls they made."""
    parser = argparse.ArgumentParser(description="Many threads on one engine.")
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    engine = gpt2edge.load()
    expected = [call(engine) for call in calls()]
    counted = [0] * options.threads
    wrong: list[int] = []
    end = monotonic() + options.seconds

    def work(number: int) -> None:
        order = random.Random(number)
        while monotonic() < end:
            for at, result in rounds(engine, order, 1):
                counted[number] += 1
                if result != expected[at]:
                    wrong.append(at)

    threads = [
        threading.Thread(target=work, args=(n,), daemon=True) for n in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(options.seconds + 60)
    stuck = sum(thread.is_alive() for thread in threads)
    print(f"{sum(counted)} calls in {options.threads} threads, at least {min(counted)} in each; ")
    print(f"{len(wrong)} results were wrong, {stuck} threads are stuck")
    raise SystemExit(bool(wrong or stuck))


if __name__ == "__main__":
    main()
