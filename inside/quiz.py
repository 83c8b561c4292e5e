"""The quiz: which of two continuations did a person write, and which the model?"""

import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from gpt2edge._checks import check_int, check_text
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.text.stopping import StopParams

_BLANK_LINE: Final = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A beginning and two continuations of about as many tokens; ``human`` is 0 or 1."""

    prompt: str
    choices: tuple[str, str]
    human: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuizResult:
    """How many of ``total`` questions a player answered right, and what that says.

    ``low`` and ``high`` are the Wilson interval of the share at 95 %: where it holds 0.5, the
    player may have guessed.
    """

    right: int
    total: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, right: int, total: int) -> "QuizResult":
        """Return the share and its interval (Wilson 1927)."""
        check_int("total", total, 1, 2**31)
        check_int("right", right, 0, total)
        z = 1.959963984540054
        share = right / total
        width = 1 + z * z / total
        middle = (share + z * z / (2 * total)) / width
        spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total**2)) / width
        return cls(
            right=right,
            total=total,
            share=share,
            low=max(0.0, middle - spread),
            high=min(1.0, middle + spread),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)


def quiz_questions(
    engine: Engine,
    text: str,
    *,
    count: int = 10,
    prompt_tokens: int = 24,
    tokens: int = 48,
    sampling: SamplingParams | None = None,
    seed: int = 0,
) -> Iterator[Question]:
    """Yield questions over paragraphs of ``text``, drawn without repetition.

    The model continues the first ``prompt_tokens`` of a paragraph by ``tokens``. Raises ValueError
    where fewer than ``count`` paragraphs are long enough.
    """
    check_text("text", text)
    check_int("count", count, 1, 10_000)
    check_int("prompt_tokens", prompt_tokens, 1, engine.config.n_positions - 1)
    check_int("tokens", tokens, 1, engine.config.n_positions - prompt_tokens)
    paragraphs = [part.strip() for part in _BLANK_LINE.split(text)]
    encoded = [engine.encode(part, add_special_tokens=False) for part in paragraphs if part]
    fitting = [ids for ids in encoded if len(ids) >= prompt_tokens + tokens]
    if len(fitting) < count:
        raise ValueError(
            f"the text has {len(fitting)} paragraphs of {prompt_tokens + tokens} tokens or more, "
            f"and the quiz needs {count}: give a longer text, fewer questions or shorter ones"
        )
    rng = np.random.default_rng(seed)
    for at in rng.permutation(len(fitting))[:count]:
        ids = fitting[at]
        begun = ids[:prompt_tokens]
        drawn = engine.generate(
            begun,
            max_new_tokens=tokens,
            sampling=sampling,
            stop=StopParams(ignore_eos=True),
            seed=int(rng.integers(2**31)),
        ).text
        written = engine.decode(ids[prompt_tokens : prompt_tokens + tokens])
        human = int(rng.integers(2))
        pair = (written, drawn) if human == 0 else (drawn, written)
        yield Question(prompt=engine.decode(begun), choices=pair, human=human)
