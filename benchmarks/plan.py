"""Tests in llama-bench's terms, and what their samples come to."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from gpt2edge.evaluate.speed import percentile

_TEST: Final = re.compile(
    r"(?P<kind>pp|tg)(?P<count>\d+)(?:@d(?P<depth>\d+))?(?:/b(?P<batch>\d+)|/n(?P<samples>\d+))?"
)
DEFAULT_TESTS: Final = ("pp512", "tg64@d32", "tg64@d944", "tg64@d32/b8", "tg64@d200/n16")
_WARM_UP_STEPS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """``pp512``: prefill 512 tokens; ``tg64@d32/b8``: 64 steps after 32 tokens, 8 rows at once.

    ``tg64@d200/n16`` draws 16 completions of one prompt of 200, its prefill in the time.
    """

    name: str
    n_prompt: int
    n_gen: int
    n_depth: int
    batch: int
    samples: int

    @classmethod
    def of(cls, name: str) -> "Test":
        """Read a test's name. Raises ValueError for one that says nothing."""
        match = _TEST.fullmatch(name)
        if match is None:
            raise ValueError(f"test is {name!r}; write pp512, tg64@d512, tg64@d32/b8 or tg64@d9/n4")
        count, prefill = int(match["count"]), match["kind"] == "pp"
        return cls(
            name=name,
            n_prompt=count if prefill else 0,
            n_gen=0 if prefill else count,
            n_depth=0 if prefill else int(match["depth"] or 1),
            batch=int(match["batch"] or 1),
            samples=int(match["samples"] or 0),
        )

    def request(self, vocab_size: int, *, warm_up: bool = False) -> dict[str, Any]:
        """The same random token ids for every system; end-of-text, the last id, is not drawn."""
        draw, length = random.Random(self.name), self.n_prompt or self.n_depth
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
        return self.batch * max(1, self.samples) * (self.n_gen or self.n_prompt)


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
