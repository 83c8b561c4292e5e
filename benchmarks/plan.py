"""Tests in llama-bench's terms, and what their samples come to."""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_TEST: Final = re.compile(
    r"(?P<kind>pp|tg)(?P<count>\d+)(?:@d(?P<depth>\d+))?(?:/b(?P<batch>\d+))?"
)
DEFAULT_TESTS: Final = ("pp512", "tg64@d32", "tg64@d512", "tg64@d944", "tg64@d32/b8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """``pp512``: prefill 512 tokens; ``tg64@d32/b8``: 64 steps after 32 tokens, 8 rows at once."""

    name: str
    n_prompt: int
    n_gen: int
    n_depth: int
    batch: int

    @classmethod
    def of(cls, name: str) -> "Test":
        """Read a test's name. Raises ValueError for one that says nothing."""
        match = _TEST.fullmatch(name)
        if match is None:
            raise ValueError(f"test is {name!r}; write pp512, tg64@d512 or tg64@d32/b8")
        count, batch = int(match["count"]), int(match["batch"] or 1)
        prefill = match["kind"] == "pp"
        depth = 0 if prefill else int(match["depth"] or 1)
        n_prompt, n_gen = (count, 0) if prefill else (0, count)
        return cls(name=name, n_prompt=n_prompt, n_gen=n_gen, n_depth=depth, batch=batch)

    def prompts(self, vocab_size: int, seed: int = 0) -> list[list[int]]:
        """The same random token ids for every system; end-of-text, the last id, is not drawn."""
        draw = random.Random(f"{self.name} {seed}")
        length = self.n_prompt or self.n_depth
        return [[draw.randrange(vocab_size - 1) for _ in range(length)] for _ in range(self.batch)]

    def sample_s(self, answer: dict[str, Any]) -> float:
        """The seconds that count."""
        seconds: float = answer["decode_s"] if self.n_gen else answer["prefill_s"]
        return seconds

    @property
    def tokens(self) -> int:
        """The tokens that those seconds made or read."""
        return self.batch * (self.n_gen or self.n_prompt)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile: the smallest value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


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
