"""Puzzles, solutions and values for the Game of 24: python training/game24.py --out DIR [--smoke].

Writes tokenizer.json, lm.npz (solutions), value.npz (positions, labelled by whether the target can
still be reached), test.jsonl and valid.jsonl. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from game24_tokenizer import END, build_tokenizer
from tokenizers import Tokenizer

from gpt2edge.runtime.search.game24_steps import Numbers, Step, legal_steps, prompt_of

TEST_FILE = Path(__file__).with_name("game24_test.txt")
LARGEST = 13
TARGETS = range(10, 37)
TARGET = 24
SHARE_24 = 0.5  # of the puzzles, those whose target is 24
SIZES = ((4, 0.6), (3, 0.3), (2, 0.1))  # numbers in the prompt, and how often
GOOD_STEP, SLIP = 0.5, 0.12  # in positions for values: a step that keeps the target; a wrong one
VALID = 100
ROW = 48  # tokens


@dataclass(frozen=True, slots=True)
class Puzzle:
    """Numbers in ascending order, and what is to be made of them."""

    numbers: Numbers
    target: int

    @property
    def prompt(self) -> str:
        return prompt_of(self.numbers, self.target)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A prompt, lines after it, and 1 or 0 for the prompt and after each line: can it be won."""

    prompt: str
    lines: tuple[str, ...]
    labels: tuple[int, ...]


@lru_cache(maxsize=None)
def moves(numbers: Numbers) -> tuple[Step, ...]:
    """All moves, each once."""
    return tuple(legal_steps(numbers))


@lru_cache(maxsize=None)
def solutions(numbers: Numbers, target: int) -> int:
    """How many solutions there are, as sequences of moves."""
    if len(numbers) == 1:
        return int(numbers[0] == target)
    return sum(solutions(step.left, target) for step in moves(numbers))


def test_puzzles() -> list[Numbers]:
    """Ranks 901 to 1000 of the list, which Tree of Thoughts was tested on."""
    lines = TEST_FILE.read_text(encoding="utf-8").splitlines()
    return [tuple(sorted(map(int, line.split()))) for line in lines]


class Source:
    """Draws puzzles and lines, deterministically, from all multisets but those set aside."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        aside = set(test_puzzles())
        every = [m for m in combinations_with_replacement(range(1, LARGEST + 1), 4)]
        others = [numbers for numbers in every if numbers not in aside]
        solvable = [numbers for numbers in others if solutions(numbers, TARGET)]
        self.valid = random.Random(0).sample(solvable, VALID)
        aside |= set(self.valid)
        self.numbers = [numbers for numbers in others if numbers not in aside]
        self.won = {
            target: [n for n in self.numbers if solutions(n, target)]
            for target in {*TARGETS, TARGET}
        }

    def example(self) -> tuple[str, str]:
        """A prompt of 2 to 4 numbers and one of its solutions, all equally likely."""
        puzzle = self._shortened(self._puzzle(), self._size())
        lines, left = [], puzzle.numbers
        while len(left) > 1:
            step = self._winning(left, puzzle.target)
            lines.append(step.text)
            left = step.left
        return puzzle.prompt, "".join(lines)

    def rollout(self) -> Rollout:
        """Moves good and bad, some of them wrong, with what can still be won."""
        target = self._target()
        left, size = self.random.choice(self.numbers), self._size()
        while len(left) > size:
            left = self._any(left, target).left
        prompt = prompt_of(left, target)
        slip = self.random.randrange(1, len(left)) if self.random.random() < SLIP else 0
        lines, sound = [], True
        labels = [int(solutions(left, target) > 0)]
        while len(left) > 1:
            step = self._any(left, target)
            if len(left) == slip:
                step, sound = self._spoilt(step, left), False
            lines.append(step.text)
            left = step.left
            labels.append(int(sound and solutions(left, target) > 0))
        return Rollout(prompt, tuple(lines), tuple(labels))

    def _target(self) -> int:
        return TARGET if self.random.random() < SHARE_24 else self.random.choice(TARGETS)

    def _puzzle(self) -> Puzzle:
        target = self._target()
        return Puzzle(self.random.choice(self.won[target]), target)

    def _size(self) -> int:
        sizes, weights = zip(*SIZES, strict=True)
        return int(self.random.choices(sizes, weights)[0])

    def _shortened(self, puzzle: Puzzle, size: int) -> Puzzle:
        """What is left after moves that keep the target within reach."""
        left = puzzle.numbers
        while len(left) > size:
            good = [step for step in moves(left) if solutions(step.left, puzzle.target)]
            left = self.random.choice(good).left
        return Puzzle(left, puzzle.target)

    def _winning(self, left: Numbers, target: int) -> Step:
        """The next move of a solution, all solutions equally likely."""
        steps = moves(left)
        return self.random.choices(steps, [solutions(step.left, target) for step in steps])[0]

    def _any(self, left: Numbers, target: int) -> Step:
        """A move; half of the time, where there is one, a move that keeps the target."""
        steps = moves(left)
        if self.random.random() < GOOD_STEP:
            steps = tuple(s for s in steps if solutions(s.left, target)) or steps
        return self.random.choice(steps)

    def _spoilt(self, step: Step, left: Numbers) -> Step:
        """A line that is no move: a wrong result, or a number that was not there."""
        near = max(0, step.result + self.random.choice((-10, -3, -2, -1, 1, 2, 3, 10)))
        wrong = near if near != step.result else step.result + 1
        rest = list(step.left)
        if self.random.random() < 0.5:
            rest.remove(step.result)
            return step._replace(result=wrong, left=tuple(sorted([*rest, wrong])))
        place = self.random.randrange(len(rest))
        rest[place] += self.random.choice([d for d in (-2, -1, 1, 2) if rest[place] + d >= 0])
        return step._replace(left=tuple(sorted(rest)))


def solution_rows(source: Source, tokenizer: Tokenizer, count: int) -> dict[str, np.ndarray]:
    """`tokens` [rows, ROW] that end in and are filled with the end of text; `start` and `length`
    [rows]: the targets are tokens start to length - 1."""
    texts = [source.example() for _ in range(count)]
    heads = tokenizer.encode_batch([prompt for prompt, _ in texts])
    wholes = tokenizer.encode_batch([prompt + lines for prompt, lines in texts])
    rows = [(whole.ids, len(head.ids)) for head, whole in zip(heads, wholes, strict=True)]
    fitting = [(ids, start) for ids, start in rows if len(ids) < ROW]
    end = tokenizer.token_to_id(END)
    tokens = np.full((len(fitting), ROW), end, np.uint16)
    for row, (ids, _) in enumerate(fitting):
        tokens[row, : len(ids)] = ids
    start = np.array([start for _, start in fitting], np.uint8)
    length = np.array([len(ids) + 1 for ids, _ in fitting], np.uint8)
    return {"tokens": tokens, "start": start, "length": length}


def value_rows(rollouts: Sequence[Rollout], tokenizer: Tokenizer) -> dict[str, np.ndarray]:
    """`tokens` [rows, ROW], and `labels` [rows, ROW]: 1 or 0 where a line ends, -1 elsewhere."""
    end = tokenizer.token_to_id(END)
    tokens = np.full((len(rollouts), ROW), end, np.uint16)
    labels = np.full((len(rollouts), ROW), -1, np.int8)
    pieces = [[rollout.prompt, *rollout.lines] for rollout in rollouts]
    encoded = iter(tokenizer.encode_batch([piece for row in pieces for piece in row]))
    kept = 0
    for row, rollout in zip(pieces, rollouts, strict=True):
        ids = [next(encoded).ids for _ in row]
        ends = np.cumsum([len(part) for part in ids])
        if ends[-1] <= ROW:
            tokens[kept, : ends[-1]] = [token for part in ids for token in part]
            labels[kept, ends - 1] = rollout.labels
            kept += 1
    return {"tokens": tokens[:kept], "labels": labels[:kept]}


def problems(puzzles: Sequence[Numbers]) -> Iterator[str]:
    """JSON lines with what a solver needs, and one right answer count to check it by."""
    for numbers in puzzles:
        puzzle = Puzzle(numbers, TARGET)
        facts = {"prompt": puzzle.prompt, "numbers": numbers, "solutions": solutions(numbers, TARGET)}
        yield json.dumps(facts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=400_000, help="solutions; half as many rollouts")
    parser.add_argument("--smoke", action="store_true", help="2,000 rows")
    args = parser.parse_args()
    count = 2000 if args.smoke else args.rows
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    tokenizer.save(str(args.out / "tokenizer.json"))
    source = Source(args.seed)
    np.savez(args.out / "lm.npz", **solution_rows(source, tokenizer, count))
    rollouts = [source.rollout() for _ in range(count // 2)]
    np.savez(args.out / "value.npz", **value_rows(rollouts, tokenizer))
    for name, puzzles in (("test", test_puzzles()), ("valid", source.valid)):
        (args.out / f"{name}.jsonl").write_text("".join(problems(puzzles)), encoding="utf-8")


if __name__ == "__main__":
    main()
