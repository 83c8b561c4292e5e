"""Calls whose tokens are kept: one for each way in which the runtime decodes.

``python -m tests.golden.cases`` writes ``tokens.json`` again. Do that only for a change that is
meant to change tokens, and say in its commit why.
"""

import json
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from gpt2edge import GREEDY, Engine, RuntimeOptions, SamplingParams, StopParams
from gpt2edge.runtime.options import DraftModel, PromptLookup
from gpt2edge.runtime.search import (
    MCTS,
    BestOfN,
    Budget,
    LineBeam,
    Loom,
    MajorityVote,
    SampledSteps,
    SearchPrompt,
    SearchSession,
    StepBeam,
    TreeOfThoughts,
)
from tests.runtime.models import KEYS, make_engine

TOKENS: Final = Path(__file__).with_name("tokens.json")
WARM: Final = SamplingParams(temperature=0.9, seed=11)
COPYING: Final = "the hen fell in the well. the hen fell in the "
PROMPTS: Final = ["he", "the well", "a hen fell", "", "hello hello hello hello", "x"]
Calls: TypeAlias = Mapping[str, Callable[[], Any]]

_SAMPLINGS: Final[Mapping[str, SamplingParams]] = {
    "greedy": GREEDY,
    "temperature": WARM,
    "top_k": replace(WARM, top_k=12),
    "top_p": replace(WARM, top_p=0.8),
    "min_p": replace(WARM, min_p=0.05),
    "typical": replace(WARM, typical_p=0.7),
    "top_k and top_p": replace(WARM, top_k=40, top_p=0.9),
    "penalties": replace(WARM, repetition_penalty=1.2, presence_penalty=0.4, frequency_penalty=0.3),
    "bans": replace(
        WARM, no_repeat_ngram_size=2, bad_words_ids=((101,), (104, 101)), logit_bias={32: 2.0}
    ),
}
_BEAMS: Final[Mapping[str, SamplingParams]] = {
    "beams": SamplingParams(num_beams=4),
    "short beams": SamplingParams(num_beams=3, length_penalty=-1.0, early_stopping=True),
    "patient beams": SamplingParams(num_beams=5, length_penalty=0.5, early_stopping="never"),
    "beams with bans": SamplingParams(num_beams=4, no_repeat_ngram_size=2, repetition_penalty=1.3),
}


def noise(text: str) -> float:
    """Return a number in [0, 1) that looks random and is the same in every run."""
    return zlib.crc32(text.encode()) / 2**32


def grade(_prompt: str, text: str) -> float:
    """Score a text, whatever it says."""
    return noise(text)


class Process:
    """Scores every step by the text up to it."""

    def score_steps(self, prompt: str, solutions: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return a score for each step of each solution."""
        return [
            [noise(prompt + "".join(steps[: end + 1])) for end in range(len(steps))]
            for steps in solutions
        ]


def _every(count: int) -> Callable[[str], bool]:
    return lambda text: len(text) >= count


def decoding_calls(engine: Engine, folder: Path) -> Calls:
    """Generate, stream and batch, with everything that changes a token."""
    model = engine.model.path

    def batch(host: Engine = engine, **arguments: Any) -> Any:
        arguments = {"max_new_tokens": 24, "sampling": WARM, **arguments}
        return [list(done.token_ids) for done in host.generate_batch(PROMPTS, **arguments)]

    def one(host: Engine = engine, prompt: str = COPYING, **arguments: Any) -> Any:
        done = host.generate(prompt, **{"max_new_tokens": 40, "sampling": WARM, **arguments})
        return [list(done.token_ids), done.finish_reason, done.text]

    def opened(**options: Any) -> Engine:
        return Engine(model, RuntimeOptions(threads=1, **options))

    def twice(**arguments: Any) -> Any:
        host = opened(prompt_cache_bytes=1 << 24)
        first = one(host, **arguments)
        return [first, one(host, COPYING + "pond", **arguments), first == one(host, **arguments)]

    layout = engine.decoder(rows=1, max_length=1).cache.layout
    draft = make_engine(folder / "draft", {**KEYS, "n_layer": 1}).model.path
    calls: dict[str, Callable[[], Any]] = {
        **{f"batch {name}": partial(batch, sampling=s) for name, s in _SAMPLINGS.items()},
        **{f"batch {name}": partial(batch, sampling=s) for name, s in _BEAMS.items()},
        "batch on three rows": lambda: batch(opened(cache_bytes=3 * 50 * layout.token_bytes)),
        "beams on four rows": lambda: batch(
            opened(cache_bytes=4 * 50 * layout.token_bytes), sampling=_BEAMS["beams"]
        ),
        "samples": lambda: batch(n=3),
        "samples on two rows": lambda: batch(opened(cache_bytes=100 * layout.token_bytes), n=3),
        "n best beams": lambda: batch(n=4, sampling=_BEAMS["beams"]),
        "stop": lambda: batch(stop=["e", " w"]),
        "late stop": lambda: batch(stop=StopParams(strings=("e",), min_new_tokens=6)),
        "ignored eos": lambda: batch(stop=StopParams(ignore_eos=True), max_new_tokens=60),
        "stop tokens": lambda: batch(stop=StopParams(token_ids=(101, 32))),
        "slide": lambda: one(prompt="hello " * 340, max_new_tokens=60, overflow="slide"),
        "truncate": lambda: one(prompt="hen " * 300, overflow="truncate-left"),
        "lookup": lambda: one(opened(speculation=PromptLookup(min_ngram=1))),
        "greedy lookup": lambda: one(opened(speculation=PromptLookup()), sampling=GREEDY),
        "draft": lambda: one(opened(speculation=DraftModel(draft))),
        "draft of itself": lambda: one(opened(speculation=DraftModel(model))),
        "prefix cache": twice,
        "beams and prefix cache": lambda: twice(sampling=_BEAMS["beams"]),
        "chunked prompt": lambda: one(opened(prefill_chunk=16), prompt="a hen " * 30),
    }
    return calls


def search_calls(engine: Engine) -> Calls:
    """Votes, best of n, beams over steps, trees."""
    sampling = replace(WARM, temperature=1.0, top_k=60, seed=5)

    def run(strategy: Any, **arguments: Any) -> Any:
        arguments = {"sampling": sampling, "max_new_tokens": 24, **arguments}
        found = strategy.run(engine, "hello", **arguments)
        cost = found.cost
        return [
            [list(candidate.completion.token_ids) for candidate in found.candidates],
            [cost.prefilled_tokens, cost.generated_tokens, cost.forward_calls, found.stopped],
        ]

    def tree(method: Any) -> Any:
        request = SearchPrompt(prompt="hello", sampling=sampling, max_new_tokens=24)
        task = SampledSteps(engine=engine, request=request, verifier=grade, step=steps)
        found = method.run(engine, task)
        cost = found.cost
        nodes = [[node.parent, node.state] for node in found.tree.nodes]
        return [nodes, [cost.prefilled_tokens, cost.generated_tokens, cost.forward_calls]]

    def loom() -> Any:
        grown = Loom(engine, "hello", tokens=5, sampling=sampling)
        grown.grow(grown.tree.root, n=3, depth=3)
        return [[node.parent, list(node.token_ids)] for node in grown.tree.nodes]

    def lines() -> Any:
        beam = LineBeam(k=9, end="9", max_new_tokens=4)
        found = beam(["the", "he saw", "a", "the cat"], SearchSession(engine))
        return [[line.text for line in each] for each in found]

    steps = _every(8)
    return {
        "majority vote": lambda: run(MajorityVote(n=6)),
        "best of n": lambda: run(BestOfN(n=6, verifier=grade)),
        "best of n within a budget": lambda: run(
            BestOfN(n=6, verifier=grade), budget=Budget(tokens=70)
        ),
        "step beam": lambda: run(StepBeam(n=8, width=4, verifier=grade, step=steps)),
        "step beam by steps": lambda: run(StepBeam(n=8, width=2, verifier=Process(), step=steps)),
        "diverse step beam": lambda: run(
            StepBeam(n=8, width=2, verifier=grade, step=steps, diverse=True)
        ),
        "step beam with lookahead": lambda: run(
            StepBeam(n=6, width=3, verifier=grade, step=steps, lookahead=1)
        ),
        "tree of thoughts": lambda: tree(TreeOfThoughts(breadth=2, max_depth=4)),
        "MCTS": lambda: tree(MCTS(simulations=12, batch=2)),
        "loom": loom,
        "likeliest lines": lines,
    }


def main() -> None:
    """Write ``tokens.json``."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for profile in ("portable", "cpu"):
            engine = make_engine(folder / profile, profile=profile)
            found[profile] = {
                case: call() for case, call in decoding_calls(engine, folder / profile).items()
            }
        found["search"] = {case: call() for case, call in search_calls(engine).items()}
    TOKENS.write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
