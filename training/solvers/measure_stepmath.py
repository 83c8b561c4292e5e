"""Measure the stepmath solvers on the test set, by our own runtime:

    python -m training.solvers.export runs/int8 --task stepmath
    python -m training.solvers.measure_stepmath runs/int8 [--torch] [--problems N] > FILE

One JSON line a model. Intervals are at 95 %: Wilson's for greedy accuracy, otherwise a bootstrap
over problems. `--torch` adds the greedy accuracy of the float32 checkpoint in transformers.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gpt2edge
from gpt2edge.runtime.search import OutcomeModel, ProcessModel, aggregate_steps, pass_at_k
from tasks.stepmath.problems import (
    Problem,
    given_answer,
    heldout_problems,
    is_right,
    judge_steps,
    split_solution,
)

MODELS = Path(__file__).resolve().parents[1] / "models"
NEW_TOKENS = 128
KS = (1, 8, 64)

Solutions = list[list[str]]  # of each problem


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, help="what export_solvers.py wrote")
    parser.add_argument("--generators", nargs="+", default=["0.1m", "0.5m", "3.7m"])
    parser.add_argument("--problems", type=int, default=250, help="to sample: the first N")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--torch", action="store_true", help="also fp32 in transformers")
    return parser.parse_args()


def wilson(right: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    z = 1.959964
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (share * (1 - share) / count + spread / (4 * count)) ** 0.5
    return middle - half, middle + half


def bootstrap(values: Sequence[float], *, rounds: int = 2000) -> dict[str, float]:
    """A mean over problems and its percentile interval."""
    array = np.asarray(values, np.float64)
    draws = np.random.default_rng(0).integers(0, len(array), (rounds, len(array)))
    low, high = np.percentile(array[draws].mean(1), (2.5, 97.5))
    return rounded({"mean": float(array.mean()), "low": float(low), "high": float(high)})


def rounded(values: dict[str, float]) -> dict[str, float]:
    """To four places."""
    return {key: round(value, 4) for key, value in values.items()}


def auc(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> float:
    """The chance that a right one scores above a wrong one; equal scores count half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # the mean rank of equals, from 1
    right = int(labels.sum())
    wrong = len(labels) - right
    return float((ranks[labels].sum() - right * (right + 1) / 2) / (right * wrong))


def greedy_figures(problems: Sequence[Problem], texts: Sequence[str]) -> dict[str, object]:
    """Accuracy in all and by class, and the share of right steps up to the first error."""
    right = [is_right(problem, text) for problem, text in zip(problems, texts, strict=True)]
    low, high = wilson(sum(right), len(right))
    groups: dict[str, list[bool]] = {}
    steps: list[bool] = []
    for problem, text, good in zip(problems, texts, right, strict=True):
        words = "new words" if problem.new_words else "usual words"
        for name in (words, problem.size, problem.story, f"{len(problem.equations)} steps"):
            groups.setdefault(name, []).append(good)
        if len(problem.equations) == 8 and problem.size == "huge":
            groups.setdefault("8 steps, huge", []).append(good)
        labels = judge_steps(problem, split_solution(text))
        steps += labels[: labels.index(False) + 1] if False in labels else labels
    return {
        **rounded({"accuracy": sum(right) / len(right), "low": low, "high": high}),
        "step accuracy": round(sum(steps) / len(steps), 4),
        "by": {name: round(sum(found) / len(found), 3) for name, found in sorted(groups.items())},
    }


def sampled(
    engine: gpt2edge.Engine, problems: Sequence[Problem], samples: int, temperature: float
) -> Solutions:
    """`samples` solutions of each problem; sample i draws from the random stream (0, i)."""
    sampling = gpt2edge.SamplingParams(temperature=temperature, seed=0)
    return [
        [
            completion.text
            for completion in engine.generate_batch(
                [problem.prompt], n=samples, max_new_tokens=NEW_TOKENS, sampling=sampling
            )
        ]
        for problem in problems
    ]


def sampled_figures(problems: Sequence[Problem], solutions: Solutions) -> dict[str, object]:
    """pass@k without bias, and the majority's accuracy."""
    found: dict[str, list[float]] = {}
    for problem, texts in zip(problems, solutions, strict=True):
        right = sum(is_right(problem, text) for text in texts)
        for k in KS:
            if k <= len(texts):
                found.setdefault(f"pass@{k}", []).append(pass_at_k(len(texts), right, k))
        votes = Counter(answer for answer in map(given_answer, texts) if answer is not None)
        chosen = votes.most_common(1)[0][0] if votes else None
        found.setdefault("majority", []).append(chosen == problem.answer)
    return {name: bootstrap(values) for name, values in found.items()}


def chosen_figures(
    problems: Sequence[Problem],
    solutions: Solutions,
    scores: list[list[float]],
) -> dict[str, object]:
    """Best of N and weighted best of N, and how well scores tell right from wrong."""
    best, weighted, within = [], [], []
    everything, labels = [], []
    for problem, texts, values in zip(problems, solutions, scores, strict=True):
        right = np.array([is_right(problem, text) for text in texts])
        best.append(float(right[int(np.argmax(values))]))
        sums: dict[int, float] = {}
        for text, value in zip(texts, values, strict=True):
            if (answer := given_answer(text)) is not None:
                sums[answer] = sums.get(answer, 0.0) + value
        weighted.append(float(bool(sums) and max(sums, key=lambda a: sums[a]) == problem.answer))
        if 0 < right.sum() < len(right):
            within.append(auc(np.array(values), right))
        everything += values
        labels += right.tolist()
    return {
        "best": bootstrap(best),
        "weighted": bootstrap(weighted),
        "auc": round(auc(np.array(everything), np.array(labels)), 4),
        "auc within a problem": bootstrap(within),
    }


def step_figures(
    problems: Sequence[Problem], solutions: Solutions, scores: list[list[list[float]]]
) -> dict[str, object]:
    """How often a process model's opinion at 0.5 is the label, up to the first error."""
    said, labels = [], []
    for problem, texts, rows in zip(problems, solutions, scores, strict=True):
        for text, values in zip(texts, rows, strict=True):
            known = judge_steps(problem, split_solution(text))
            end = known.index(False) + 1 if False in known else len(known)
            said += values[:end]
            labels += known[:end]
    opinions, truth = np.array(said), np.array(labels)
    return {
        "step accuracy": round(float(((opinions > 0.5) == truth).mean()), 4),
        "step auc": round(auc(opinions, truth), 4),
        "share of right steps": round(float(truth.mean()), 4),
    }


def verifier_figures(
    folders: Path, problems: Sequence[Problem], solutions: Solutions
) -> dict[str, object]:
    """Both verifiers on the same solutions."""
    figures: dict[str, object] = {}
    outcome = OutcomeModel(gpt2edge.load(folders / "stepmath-outcome"))
    scores = [
        outcome.score(problem.prompt, texts)
        for problem, texts in zip(problems, solutions, strict=True)
    ]
    figures["outcome"] = chosen_figures(problems, solutions, scores)
    process = ProcessModel(gpt2edge.load(folders / "stepmath-process"))
    steps = [
        process.score_steps(problem.prompt, [split_solution(text) for text in texts])
        for problem, texts in zip(problems, solutions, strict=True)
    ]
    for how in ("prod", "min", "last"):
        totals = [[aggregate_steps(values, how) for values in rows] for rows in steps]
        figures[f"process {how}"] = chosen_figures(problems, solutions, totals)
    figures["process"] = step_figures(problems, solutions, steps)
    return figures


def torch_greedy(checkpoint: Path) -> Callable[[Sequence[str]], list[str]]:
    """Greedy completions by transformers in float32."""
    import torch
    from tokenizers import Tokenizer
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))

    def complete(prompts: Sequence[str]) -> list[str]:
        texts = []
        for at in range(0, len(prompts), 50):
            rows = [tokenizer.encode(prompt).ids for prompt in prompts[at : at + 50]]
            width = max(map(len, rows))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            made = model.generate(
                ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=0
            )[:, width:]
            texts += [tokenizer.decode(row, skip_special_tokens=True) for row in made.tolist()]
        return texts

    return complete


def measure(args: argparse.Namespace, name: str) -> dict[str, object]:
    """All figures of one generator."""
    problems = heldout_problems()
    prompts = [problem.prompt for problem in problems]
    folder = args.folders / f"stepmath-{name}"
    engine = gpt2edge.load(folder)
    greedy = gpt2edge.SamplingParams(temperature=0.0)
    started = time.monotonic()
    done = engine.generate_batch(prompts, max_new_tokens=NEW_TOKENS, sampling=greedy)
    row: dict[str, object] = {
        "model": folder.name,
        "variant": engine.model.manifest.variant,
        "greedy": greedy_figures(problems, [completion.text for completion in done]),
        "greedy seconds": round(time.monotonic() - started, 1),
    }
    if args.torch:
        texts = torch_greedy(MODELS / folder.name)(prompts)
        row["torch fp32 greedy"] = greedy_figures(problems, texts)
    asked = problems[: args.problems]
    started = time.monotonic()
    solutions = sampled(engine, asked, args.samples, args.temperature)
    row["sampled seconds"] = round(time.monotonic() - started, 1)
    row["problems"], row["samples"] = len(asked), args.samples
    row["sampled"] = sampled_figures(asked, solutions)
    if (args.folders / "stepmath-outcome").is_dir():
        row["verified"] = verifier_figures(args.folders, asked, solutions)
    return row


def main() -> None:
    args = parse_arguments()
    for name in args.generators:
        print(f"stepmath-{name}", file=sys.stderr, flush=True)
        print(json.dumps(measure(args, name)), flush=True)


if __name__ == "__main__":
    main()
