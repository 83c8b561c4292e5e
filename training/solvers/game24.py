"""Train the Game of 24 models: python -m training.solvers.game24 --out runs/game24 [--only NAME]
[--publish] [--smoke].

Stages: data (game24.py), the generators 0.1m and 0.7m, 3m grown from 0.7m, value and outcome on
0.7m's body. Each is skipped where its result is there, and goes on where it broke off.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer

import gpt2edge
from gpt2edge.export import export_checkpoint
from tasks.game24.notation import Numbers, is_solved, prompt_of
from tasks.game24.puzzles import TARGET
from training.common.grow import deepened, widened
from training.common.hf_folder import export_folder
from training.common.model import GPT, GPTConfig, load_weights
from training.common.reward import RewardModel, load_reward
from training.solvers.fit import Plan, fit
from training.solvers.game24_rows import ROW, Source
from training.solvers.game24_tokenizer import END
from training.solvers.rows import Judged, Rows, value_rows

ROOT = Path(__file__).resolve().parents[2]
SAMPLING: dict[str, object] = {"do_sample": False, "max_new_tokens": 34}
SIZES = {"0.1m": (48, 3, 3), "0.7m": (128, 3, 4)}  # width, layers, heads
GROWN_LAYERS = 4
MINUTES = {"0.1m": 5, "0.7m": 11, "3m": 14, "value": 7, "outcome": 4.5}
FROM_SCRATCH = (0.02, 0.003)  # learning rates of Muon and Adam
GENTLE = {"3m": (0.005, 0.001), "value": (0.01, 0.002), "outcome": (0.005, 0.001)}
SAMPLES, OTHERS = 16, 600  # a puzzle; puzzles of other targets to sample
SMOKE_MINUTES = 0.15


class Pipeline:
    """The stages, and the folder they write to."""

    def __init__(self, out: Path, *, smoke: bool) -> None:
        self.out, self.smoke = out, smoke
        self.tokenizer_file = out / "tokenizer.json"
        out.mkdir(parents=True, exist_ok=True)

    @property
    def stages(self) -> dict[str, Callable[[], GPT | RewardModel]]:
        """The first model of each stage."""
        return {
            "0.1m": lambda: self.fresh("0.1m"),
            "0.7m": lambda: self.fresh("0.7m"),
            "3m": lambda: deepened(widened(self.generator("0.7m")), GROWN_LAYERS),
            "value": lambda: RewardModel.on(self.generator("0.7m")),
            "outcome": lambda: RewardModel.on(self.generator("0.7m")),
        }

    def run(self, only: str | None) -> None:
        """All stages, or one."""
        if not (self.out / "valid.jsonl").exists():
            command = [
                sys.executable,
                "-m",
                "training.solvers.game24_rows",
                "--out",
                str(self.out.resolve()),
            ]
            command += ["--smoke"] if self.smoke else []
            subprocess.run(command, cwd=ROOT, check=True)
        for name, begin in self.stages.items():
            if only in (None, name) and not (self.out / name / "hf").exists():
                print(f"== game24 {name}", file=sys.stderr, flush=True)
                self.train(name, begin())

    def fresh(self, name: str) -> GPT:
        """A generator of random weights, the same each time."""
        torch.manual_seed(0)
        vocab = Tokenizer.from_file(str(self.tokenizer_file)).get_vocab_size()
        width, layers, heads = SIZES[name]
        config = GPTConfig(vocab, n_positions=ROW, n_embd=width, n_layer=layers, n_head=heads)
        return GPT(config)

    def generator(self, name: str) -> GPT:
        """One that was trained."""
        return load_weights(self.out / name / "hf")

    def train(self, name: str, model: GPT | RewardModel) -> None:
        """Fit, and write the Hugging Face folder."""
        muon, adam = GENTLE.get(name, FROM_SCRATCH)
        minutes = SMOKE_MINUTES if self.smoke else MINUTES[name]
        plan = Plan(minutes, 2048 if name == "3m" else 4096, muon_lr=muon, adam_lr=adam)
        fitted = fit(model, self.rows(name), self.out / name, plan, resume=True)
        assert isinstance(fitted, GPT | RewardModel)
        self.write(fitted, self.out / name / "hf", torch.float32)

    def rows(self, name: str) -> Rows:
        """What a stage is trained on."""
        if name == "outcome":
            tokenizer = Tokenizer.from_file(str(self.tokenizer_file))
            return value_rows(self.judged(), tokenizer, ROW, where="all")
        return Rows.load(str(self.out / ("values.npz" if name == "value" else "solutions.npz")))

    def judged(self) -> Iterator[Judged]:
        """Samples of the smallest generator on training puzzles, labelled by the checker."""
        source, rng = Source(seed=2), random.Random(5)
        puzzles: list[tuple[Numbers, int]] = [(n, TARGET) for n in source.won[TARGET]]
        others: list[tuple[Numbers, int]] = [
            (n, t) for t, every in source.won.items() if t != TARGET for n in every
        ]
        puzzles += rng.sample(others, OTHERS)
        rng.shuffle(puzzles)
        folder = export_checkpoint(
            self.out / "0.1m" / "hf", self.out / "0.1m" / "onnx", overwrite=True
        )
        engine = gpt2edge.load(folder.path)
        for at in range(0, 32 if self.smoke else len(puzzles), 8):
            yield from sampled(engine, puzzles[at : at + 8], seed=at)

    def publish(self) -> None:
        """Copies in fp16 where the repository keeps them."""
        for name in self.stages:
            source = self.out / name / "hf"
            if source.exists():
                load = load_reward if name in ("value", "outcome") else load_weights
                self.write(
                    load(source), ROOT / "training" / "models" / f"game24-{name}", torch.float16
                )

    def write(self, model: GPT | RewardModel, folder: Path, dtype: torch.dtype) -> None:
        """A Hugging Face folder. Without the class named, transformers takes GPT-2's own rules
        of where a text may be cut, and finds other tokens."""
        export_folder(model, self.tokenizer_file, folder, dtype=dtype, sampling=SAMPLING)
        facts = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "model_max_length": model.config.n_positions,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(facts, indent=2) + "\n")


def sampled(
    engine: gpt2edge.Engine, puzzles: list[tuple[Numbers, int]], *, seed: int
) -> Iterator[Judged]:
    """Different solutions of each puzzle, and whether each is right."""
    done = engine.generate_batch(
        [prompt_of(numbers, target) for numbers, target in puzzles],
        n=SAMPLES,
        max_new_tokens=34,
        sampling=gpt2edge.SamplingParams(temperature=1.0, seed=seed),
    )
    seen = set()
    for place, completion in enumerate(done):
        numbers, target = puzzles[place // SAMPLES]
        key = (numbers, target, completion.text)
        if completion.text and key not in seen:
            seen.add(key)
            right = float(is_solved(numbers, completion.text, target))
            yield Judged(prompt_of(numbers, target), [completion.text], [right])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=[*MINUTES], help="one stage")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch decides")
    parser.add_argument("--publish", action="store_true", help="fp16 copies to training/models")
    parser.add_argument("--smoke", action="store_true", help="tiny data, seconds a stage")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    pipeline = Pipeline(args.out, smoke=args.smoke)
    pipeline.run(args.only)
    if args.publish:
        pipeline.publish()


if __name__ == "__main__":
    main()
