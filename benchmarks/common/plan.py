"""Tests in llama-bench's terms, and what their samples come to."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from gpt2edge.evaluate.speed import BenchmarkTest, percentile

DEFAULT_TESTS: Final = ("pp512", "tg64@d32", "tg64@d944", "tg64@d32/b8", "tg64@d200/n16")
_WARM_UP_STEPS: Final = 8


@dataclass(frozen=True, kw_only=True)
class Test(BenchmarkTest):
    """``pp512``: prefill 512 tokens; ``tg64@d32/b8``: 64 steps after 32 tokens, 8 rows at once.

    ``tg64@d200/n16`` draws 16 completions of one prompt of 200, its prefill in the time. ``label``
    is the test as it was written, under which rows of results are kept.
    """

    label: str
    samples: int = 0

    @classmethod
    def of(cls, name: str) -> "Test":
        """Read a test's name. Raises ValueError for one that says nothing."""
        base, mark, samples = name.partition("/n")
        test = BenchmarkTest.of(base)
        if mark and (test.n_prompt or test.batch > 1 or not re.fullmatch(r"[1-9]\d*", samples)):
            raise ValueError(f"test is {name!r}; samples of one prompt are written tg64@d9/n4")
        if test.n_prompt and test.n_depth:
            raise ValueError(f"test is {name!r}; peers prefill from an empty cache, as in pp512")
        depth = test.n_depth or int(test.n_gen > 0)  # a decode starts from one token at least
        return cls(
            label=name,
            n_prompt=test.n_prompt,
            n_gen=test.n_gen,
            n_depth=depth,
            batch=test.batch,
            samples=int(samples or 0),
        )

    def request(self, vocab_size: int, *, warm_up: bool = False) -> dict[str, Any]:
        """The same random token ids for every system; end-of-text, the last id, is not drawn."""
        draw, length = random.Random(self.label), self.prompt_length
        rows = range(self.batch)
        prompts = [[draw.randrange(vocab_size - 1) for _ in range(length)] for _ in rows]
        new = min(self.n_gen, _WARM_UP_STEPS) if warm_up else self.n_gen
        samples = {"samples": self.samples} if self.samples else {}
        return {"prompts": prompts, "new": new, **samples}

    def sample_s(self, answer: dict[str, Any]) -> float:
        """The seconds that count."""
        prefill, decode = answer["prefill_s"], answer["decode_s"]
        seconds: float = prefill + decode if self.samples else decode if self.n_gen else prefill
        return seconds

    @property
    def tokens(self) -> int:
        """The tokens that those seconds made or read."""
        return max(1, self.samples) * super().tokens


def summary(test: Test, answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one system in one test: ``ts`` is tokens per second, p95 the slow side."""
    samples = [test.sample_s(answer) for answer in answers]
    steps = [step for answer in answers for step in answer["steps_s"]]
    figures: dict[str, Any] = {
        "samples_ns": [round(sample * 1e9) for sample in samples],
        "p50_ts": test.tokens / median(samples),
        "p95_ts": test.tokens / percentile(samples, 0.95),
        "peak_rss_bytes": answers[-1]["peak_rss_bytes"],
    }
    if test.n_gen and steps:
        figures["step_p50_ms"] = median(steps) * 1e3
        figures["step_p95_ms"] = percentile(steps, 0.95) * 1e3
    return figures
