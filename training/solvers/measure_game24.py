"""Measure the Game of 24 models by themselves, on ranks 901 to 1000, by our own runtime:

    python -m training.solvers.export runs/int8 --task game24
    python -m training.solvers.measure_game24 runs/int8 [--torch] [--samples K] > FILE

One JSON line a model: generators greedily and by samples, the outcome model as a judge of these,
the value model on positions that the test puzzles lead to. Searches: benchmarks/search/game24.py.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import gpt2edge
from gpt2edge.runtime.search import OutcomeModel, ProcessModel, pass_at_k
from tasks.game24.notation import Numbers, is_solved, prompt_of, read_steps
from tasks.game24.puzzles import moves, solutions, test_puzzles
from training.solvers.measure_stepmath import MODELS, auc, bootstrap, rounded, wilson

NEW_TOKENS = 34
KS = (1, 8, 64)
POSITIONS = 1000  # of 3 and of 2 numbers


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, help="what export_solvers.py wrote")
    parser.add_argument("--generators", nargs="+", default=["0.1m", "0.7m", "3m"])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--torch", action="store_true", help="also fp32 in torch, greedily")
    return parser.parse_args()


def greedy_figures(puzzles: Sequence[Numbers], texts: Sequence[str]) -> dict[str, float]:
    """Puzzles solved, and the share of lines that are legal moves, up to the first that is not."""
    right = [is_solved(numbers, text) for numbers, text in zip(puzzles, texts, strict=True)]
    low, high = wilson(sum(right), len(right))
    legal = written = 0
    for numbers, text in zip(puzzles, texts, strict=True):
        moves_made = len(read_steps(numbers, text))
        legal += moves_made
        written += moves_made + (len(text.splitlines()) > moves_made)
    accuracy = sum(right) / len(right)
    return rounded({"accuracy": accuracy, "low": low, "high": high, "legal lines": legal / written})


def torch_greedy(checkpoint: Path, prompts: Sequence[str]) -> list[str]:
    """Greedy completions of the float32 weights in torch, without a cache."""
    import torch
    from tokenizers import Tokenizer

    from training.common.model import load_weights

    model = load_weights(checkpoint).eval()
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    texts = []
    for prompt in prompts:
        ids = tokenizer.encode(prompt).ids
        start = len(ids)
        with torch.no_grad():
            while len(ids) < start + NEW_TOKENS:
                token = int(model(torch.tensor([ids]))[0, -1].argmax())
                if token == model.config.eos_token_id:
                    break
                ids.append(token)
        texts.append(tokenizer.decode(ids[start:]))
    return texts


def sampled_figures(
    puzzles: Sequence[Numbers], texts: Sequence[Sequence[str]], judge: OutcomeModel | None
) -> dict[str, object]:
    """pass@k without bias; with a judge the best of all samples, and its AUC."""
    rates: dict[str, list[float]] = {f"pass@{k}": [] for k in KS if k <= len(texts[0])}
    best, scores, labels = [], [], []
    for numbers, written in zip(puzzles, texts, strict=True):
        right = [is_solved(numbers, text) for text in written]
        for k in KS:
            if k <= len(written):
                rates[f"pass@{k}"].append(pass_at_k(len(written), sum(right), k))
        if judge is not None:
            values = judge.score(prompt_of(numbers), written)
            best.append(float(right[int(np.argmax(values))]))
            scores += values
            labels += right
    figures: dict[str, object] = {name: bootstrap(values) for name, values in rates.items()}
    if judge is not None:
        figures["best by the outcome model"] = bootstrap(best)
        figures["auc"] = round(auc(np.array(scores), np.array(labels)), 4)
    return figures


def generator_figures(args: argparse.Namespace, name: str, judge: OutcomeModel | None) -> object:
    """A generator, greedily and sampled at temperature 1."""
    puzzles = test_puzzles()
    prompts = [prompt_of(numbers) for numbers in puzzles]
    engine = gpt2edge.load(args.folders / name)
    done = engine.generate_batch(prompts, max_new_tokens=NEW_TOKENS, sampling=gpt2edge.GREEDY)
    row: dict[str, object] = {"model": name, "variant": engine.model.manifest.variant}
    row["greedy"] = greedy_figures(puzzles, [completion.text for completion in done])
    if args.torch:
        row["torch fp32 greedy"] = greedy_figures(puzzles, torch_greedy(MODELS / name, prompts))
    sampling = gpt2edge.SamplingParams(temperature=1.0, seed=0)
    texts = [
        [
            completion.text
            for completion in engine.generate_batch(
                [prompt], n=args.samples, max_new_tokens=NEW_TOKENS, sampling=sampling
            )
        ]
        for prompt in prompts
    ]
    return {**row, "samples": args.samples, **sampled_figures(puzzles, texts, judge)}


def value_figures(folder: Path) -> object:
    """How well the value model tells positions that can be won, all reached from the test set."""
    model = ProcessModel(gpt2edge.load(folder))
    row: dict[str, object] = {"model": folder.name}
    positions = sorted({step.left for numbers in test_puzzles() for step in moves(numbers)})
    for size in (3, 2):
        chosen = random.Random(0).sample(positions, min(POSITIONS, len(positions)))
        prompts = [prompt_of(position) for position in chosen]
        values = np.array([model.score_steps(prompt, [[""]])[0][0] for prompt in prompts])
        truth = np.array([solutions(position, 24) > 0 for position in chosen])
        row[f"{size} numbers"] = {
            "positions": len(chosen),
            "can be won": round(float(truth.mean()), 4),
            "auc": round(auc(values, truth), 4),
            "accuracy": round(float(((values > 0.5) == truth).mean()), 4),
        }
        positions = sorted({step.left for position in positions for step in moves(position)})
    return row


def main() -> None:
    args = parse_arguments()
    judged = args.folders / "game24-outcome"
    judge = OutcomeModel(gpt2edge.load(judged)) if judged.is_dir() else None
    for name in args.generators:
        print(f"game24-{name}", file=sys.stderr, flush=True)
        print(json.dumps(generator_figures(args, f"game24-{name}", judge)), flush=True)
    print(json.dumps(value_figures(args.folders / "game24-value")), flush=True)


if __name__ == "__main__":
    main()
