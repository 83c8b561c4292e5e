"""Puzzles, solutions and values for the Game of 24.

    python -m training.solvers.game24_rows --out DIR [--smoke]

Writes tokenizer.json, solutions.npz, values.npz (positions, labelled by whether the target can
still be reached), test.jsonl and valid.jsonl. The same seed gives the same rows.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from itertools import combinations_with_replacement
from pathlib import Path

from tasks.game24.notation import Numbers, Step, prompt_of
from tasks.game24.puzzles import (
    TARGET,
    moves,
    problems,
    random_solution,
    solutions,
    test_puzzles,
)
from training.solvers.game24_tokenizer import build_tokenizer
from training.solvers.rows import Example, Judged, language_rows, value_rows

LARGEST = 13
TARGETS = range(10, 37)
SHARE_24 = 0.5  # of the puzzles, those whose target is 24
SIZES = ((4, 0.6), (3, 0.3), (2, 0.1))  # numbers in the prompt, and how often
GOOD_STEP, SLIP = 0.5, 0.12  # in positions for values: a step that keeps the target; a wrong one
VALID = 100
ROW = 64  # tokens, the models' context


class Source:
    """Draws puzzles and lines, deterministically, from all multisets but those set aside."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        aside = set(test_puzzles())
        every = list(combinations_with_replacement(range(1, LARGEST + 1), 4))
        others = [numbers for numbers in every if numbers not in aside]
        solvable = [numbers for numbers in others if solutions(numbers, TARGET)]
        self.valid = random.Random(0).sample(solvable, VALID)
        aside |= set(self.valid)
        self.numbers = [numbers for numbers in others if numbers not in aside]
        self.won = {
            target: [n for n in self.numbers if solutions(n, target)]
            for target in {*TARGETS, TARGET}
        }

    def example(self) -> Example:
        """A prompt of 2 to 4 numbers and one of its solutions."""
        target = self._target()
        left: Numbers = self.random.choice(self.won[target])
        size = self._size()
        while len(left) > size:
            good = [step for step in moves(left) if solutions(step.left, target)]
            left = self.random.choice(good).left
        return Example(prompt_of(left, target), "".join(self.solution(left, target)))

    def solution(self, left: Numbers, target: int) -> Iterator[str]:
        """The lines of a solution, all solutions equally likely."""
        return random_solution(self.random, left, target)

    def rollout(self) -> Judged:
        """Moves good and bad, some of them wrong, and 1 or 0: can the target be reached. The
        prompt is the first step, since it has a value as well."""
        target = self._target()
        left: Numbers = self.random.choice(self.numbers)
        size = self._size()
        while len(left) > size:
            left = self._any(left, target).left
        texts, labels = [prompt_of(left, target)], [float(solutions(left, target) > 0)]
        slip = self.random.randrange(1, len(left)) if self.random.random() < SLIP else 0
        sound = True
        while len(left) > 1:
            step = self._any(left, target)
            if len(texts) == slip:
                step, sound = self._spoilt(step), False
            texts.append(step.text)
            left = step.left
            labels.append(float(sound and solutions(left, target) > 0))
        return Judged("", texts, labels)

    def _target(self) -> int:
        return TARGET if self.random.random() < SHARE_24 else self.random.choice(TARGETS)

    def _size(self) -> int:
        sizes, weights = zip(*SIZES, strict=True)
        return int(self.random.choices(sizes, weights)[0])

    def _any(self, left: Numbers, target: int) -> Step:
        """A move; half of the time, where there is one, a move that keeps the target."""
        steps = moves(left)
        if self.random.random() < GOOD_STEP:
            steps = tuple(s for s in steps if solutions(s.left, target)) or steps
        return self.random.choice(steps)

    def _spoilt(self, step: Step) -> Step:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=400_000, help="solutions, and as many values")
    parser.add_argument("--smoke", action="store_true", help="2,000 rows")
    args = parser.parse_args()
    count = 2000 if args.smoke else args.rows
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    tokenizer.save(str(args.out / "tokenizer.json"))
    source = Source(args.seed)
    examples = (source.example() for _ in range(count))
    language_rows(examples, tokenizer, ROW).save(args.out / "solutions.npz")
    rollouts = (source.rollout() for _ in range(count))
    value_rows(rollouts, tokenizer, ROW, where="ends").save(args.out / "values.npz")
    for name, puzzles in (("test", test_puzzles()), ("valid", source.valid)):
        (args.out / f"{name}.jsonl").write_text("".join(problems(puzzles)), encoding="utf-8")


if __name__ == "__main__":
    main()
