"""Rows to train on: texts as padded token ids beside what each token should foretell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

IGNORE = -100  # a goal that does not count, for tokens and for values alike
MULTIPLE = 16  # rows of a batch are padded to a multiple of this


@dataclass(frozen=True, slots=True)
class Example:
    """A text to imitate: the loss is on the solution and on the end after it."""

    prompt: str
    solution: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A solution in steps, and how right each is, in [0, 1]. Steps beyond the labels are not
    trained on."""

    prompt: str
    steps: Sequence[str]
    labels: Sequence[float]


@dataclass(frozen=True, slots=True)
class Rows:
    """ids [count, width] and goals [count, width], of which row i uses lengths[i]."""

    ids: NDArray[np.uint16]
    goals: NDArray[np.float32]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, chosen: slice) -> Rows:
        return Rows(self.ids[chosen], self.goals[chosen], self.lengths[chosen])

    def __add__(self, other: Rows) -> Rows:
        return Rows(
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.goals, other.goals]),
            np.concatenate([self.lengths, other.lengths]),
        )

    def save(self, path: str | Path) -> None:
        """Write one .npz file."""
        np.savez(path, ids=self.ids, goals=self.goals, lengths=self.lengths)

    @classmethod
    def load(cls, path: str | Path) -> Rows:
        """Read what `save` wrote."""
        with np.load(path) as file:
            return cls(file["ids"], file["goals"], file["lengths"])


def language_rows(
    examples: Iterable[Example], tokenizer: Tokenizer, width: int, *, end: int = 0
) -> Rows:
    """Rows whose goals are the next tokens of the solutions. The prompt is tokenized by itself,
    as the engine does."""
    items = list(examples)
    prompts = encode_all(tokenizer, [item.prompt for item in items])
    solutions = encode_all(tokenizer, [item.solution for item in items])
    texts, goals = [], []
    for prompt, solution in zip(prompts, solutions, strict=True):
        after = [*solution, end]
        texts.append([*prompt, *solution])
        goals.append([IGNORE] * (len(prompt) - 1) + after)
    return stack(texts, goals, width)


def drill_rows(
    drills: Iterable[Sequence[tuple[str, str]]], tokenizer: Tokenizer, width: int
) -> Rows:
    """Rows of lines, each of what is given and what should follow: only that is a goal."""
    items = list(drills)
    parts = iter(
        encode_all(tokenizer, [part for lines in items for line in lines for part in line])
    )
    texts, goals = [], []
    for lines in items:
        text: list[int] = []
        goal: list[float] = []
        for _ in lines:
            given, wanted = next(parts), next(parts)
            text += given + wanted
            goal += [IGNORE] * (len(given) - 1) + wanted + [IGNORE]
        texts.append(text)
        goals.append(goal)
    return stack(texts, goals, width)


def value_rows(
    judged: Iterable[Judged], tokenizer: Tokenizer, width: int, *, where: Literal["ends", "all"]
) -> Rows:
    """Rows whose goals are labels: at the last token of each step, or at all of its tokens.

    Prompt and steps are tokenized one by one, as `ProcessModel` does.
    """
    items = list(judged)
    prompts = encode_all(tokenizer, [item.prompt for item in items])
    steps = iter(encode_all(tokenizer, [step for item in items for step in item.steps]))
    texts, goals = [], []
    for item, prompt in zip(items, prompts, strict=True):
        text, goal = list(prompt), [float(IGNORE)] * len(prompt)
        for at in range(len(item.steps)):
            part = next(steps)
            if not part:
                continue
            label = item.labels[at] if at < len(item.labels) else float(IGNORE)
            text += part
            early = label if where == "all" else float(IGNORE)
            goal += [early] * (len(part) - 1) + [label]
        texts.append(text)
        goals.append(goal)
    return stack(texts, goals, width)


def encode_all(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]


def stack(texts: Sequence[Sequence[int]], goals: Sequence[Sequence[float]], width: int) -> Rows:
    """Pad to `width`. Raises ValueError for a text that is longer, and for no text at all, on
    which a trainer would turn for ever."""
    if not texts:
        raise ValueError("there are no texts to train on")
    lengths = np.array([len(text) for text in texts])
    if lengths.max() > width:
        raise ValueError(f"a text has {lengths.max()} tokens; at most {width} fit")
    ids = np.zeros((len(texts), width), np.uint16)
    targets = np.full((len(texts), width), IGNORE, np.float32)
    for row, (text, goal) in enumerate(zip(texts, goals, strict=True)):
        ids[row, : len(text)] = text
        targets[row, : len(goal)] = goal
    return Rows(ids, targets, lengths)


def batches(rows: Rows, tokens: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """Row numbers of one pass in batches of up to `tokens` tokens, padding included.

    Rows of like length go together: a shuffled pool is sorted, cut up and shuffled again. The
    same epoch gives the same batches.
    """
    random = np.random.default_rng((17, epoch))
    order = random.permutation(len(rows))
    found = []
    for start in range(0, len(order), 4096):
        pool = order[start : start + 4096]
        pool = pool[np.argsort(rows.lengths[pool], kind="stable")]
        at = 0
        while at < len(pool):
            count = 1
            while at + count < len(pool):
                if padded(int(rows.lengths[pool[at + count]])) * (count + 1) > tokens:
                    break
                count += 1
            found.append(pool[at : at + count])
            at += count
    for place in random.permutation(len(found)):
        yield found[place]


def padded(length: int) -> int:
    """The length rounded up."""
    return -(-length // MULTIPLE) * MULTIPLE
