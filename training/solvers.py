"""Train the solvers of a task, from its problems to the checkpoints in training/models:
python training/solvers.py --task stepmath --out runs/stepmath [--only NAME] [--smoke]."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from hf_folder import export_folder
from model import GPT, load_weights
from reward import RewardModel, load_reward
from solver import Plan, fit, new_generator
from solver_rows import Example, Judged, Rows, language_rows, value_rows
from solver_tasks import TASKS, Task
from tokenizer import train_digit_tokenizer
from tokenizers import Tokenizer

import gpt2edge
from gpt2edge.export import export_checkpoint

MODELS = Path(__file__).resolve().parent / "models"
GREEDY: dict[str, object] = {"do_sample": False}
HARVEST_FROM = 10_000_000  # numbers of problems that no generator was trained on
SAMPLE_FROM = 20_000_000
TEMPERATURE = 1.0
PROMPTS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes, minutes and amounts."""

    generators: dict[str, float]  # preset -> minutes
    examples: int  # to train the generators on
    verifier: str  # preset of the bodies, one of the generators
    verifier_minutes: float
    samples: dict[str, int]  # preset -> problems to sample solutions of
    per_problem: int  # samples
    harvest: int  # problems for the round of self-improvement of the first generator
    harvest_minutes: float


FULL = Recipe(
    generators={"0.1m": 6, "0.7m": 13, "3m": 25},
    examples=60_000,
    verifier="0.7m",
    verifier_minutes=7,
    samples={"0.1m": 3000, "0.7m": 1500},
    per_problem=12,
    harvest=6000,
    harvest_minutes=3,
)
SMOKE = Recipe(
    generators={"smoke": 0.3},
    examples=3000,
    verifier="smoke",
    verifier_minutes=0.1,
    samples={"smoke": 64},
    per_problem=4,
    harvest=64,
    harvest_minutes=0.1,
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=[*TASKS], required=True)
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, samples, tokens")
    parser.add_argument("--only", help="one stage: data, a preset, samples, outcome, process, star")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch decides")
    parser.add_argument("--publish", action="store_true", help="fp16 copies to training/models")
    parser.add_argument("--smoke", action="store_true", help="tiny, end to end, 2 minutes")
    return parser.parse_args()


class Pipeline:
    """The stages; each is skipped where its result is there, and goes on where it broke off."""

    def __init__(self, task: Task, out: Path, recipe: Recipe) -> None:
        self.task, self.out, self.recipe = task, out, recipe
        self.tokenizer_file = out / "tokenizer.json"
        self.samples_file = out / "samples.jsonl"
        out.mkdir(parents=True, exist_ok=True)

    @property
    def stages(self) -> dict[str, Path]:
        """What each stage makes, in order."""
        generators = {name: self.out / name / "hf" for name in self.recipe.generators}
        names = ("outcome", "process", "star")
        last = {name: self.out / name / "hf" for name in names}
        return {
            "data": self.out / "rows.npz",
            **generators,
            "samples": self.out / "samples.done",
            **last,
        }

    def run(self, only: str | None) -> None:
        """All stages, or one."""
        if only is not None and only not in self.stages:
            raise SystemExit(f"--only is {only!r}; it must be one of {', '.join(self.stages)}")
        for name, made in self.stages.items():
            if only in (None, name) and not made.exists():
                print(f"== {self.task.name} {name}", file=sys.stderr, flush=True)
                self.stage(name)

    def stage(self, name: str) -> None:
        """Make the result of this stage."""
        recipe = self.recipe
        if name == "data":
            self.prepare()
        elif name in recipe.generators:
            model = new_generator(name, self.task.vocab_size, self.task.n_positions)
            self.fit(model, Rows.load(self.stages["data"]), name, recipe.generators[name])
        elif name == "samples":
            self.sample()
        elif name == "star":
            self.improve()
        else:
            body = load_weights(self.out / recipe.verifier / "hf")
            where = "all" if name == "outcome" else "ends"
            rows = value_rows(self.judged(name), self.tokenizer, self.task.n_positions, where=where)
            self.fit(RewardModel.on(body), rows, name, recipe.verifier_minutes)

    @property
    def tokenizer(self) -> Tokenizer:
        """That of the task."""
        return Tokenizer.from_file(str(self.tokenizer_file))

    def prepare(self) -> None:
        """The tokenizer, and the tokens of all examples."""
        problems = [self.task.training_problem(at) for at in range(self.recipe.examples)]
        texts = (problem.prompt + problem.solution for problem in problems[:20_000])
        tokenizer = train_digit_tokenizer(texts, self.tokenizer_file, self.task.vocab_size)
        examples = (Example(problem.prompt, problem.solution) for problem in problems)
        language_rows(examples, tokenizer, self.task.n_positions).save(self.stages["data"])

    def fit(self, model: GPT | RewardModel, rows: Rows, name: str, minutes: float) -> None:
        """Train, and write the Hugging Face folder."""
        small = isinstance(model, GPT) and model.config.n_embd <= 64
        tokens = 2048 if small or isinstance(model, GPT) else 4096
        fitted = fit(model, rows, self.out / name, Plan(minutes, tokens), resume=True)
        assert isinstance(fitted, GPT | RewardModel)
        folder = self.out / name / "hf"
        sampling = {**GREEDY, "max_new_tokens": self.task.max_new_tokens}
        export_folder(fitted, self.tokenizer_file, folder, sampling=sampling)

    def engine(self, name: str) -> gpt2edge.Engine:
        """Our own runtime on a generator of this run."""
        folder = self.out / name / "onnx"
        export_checkpoint(self.out / name / "hf", folder, overwrite=True)
        return gpt2edge.load(folder)

    def solutions(self, name: str, first: int, count: int, each: int) -> Iterator[tuple[int, str]]:
        """Numbers of problems and whole solutions that a generator samples."""
        engine = self.engine(name)
        for at in range(first, first + count, PROMPTS_AT_ONCE):
            numbers = range(at, min(at + PROMPTS_AT_ONCE, first + count))
            completions = engine.generate_batch(
                [self.task.training_problem(number).prompt for number in numbers],
                n=each,
                max_new_tokens=self.task.max_new_tokens,
                sampling=gpt2edge.SamplingParams(temperature=TEMPERATURE, seed=at),
            )
            for place, completion in enumerate(completions):
                if completion.finish_reason == "stop":
                    yield numbers[place // each], completion.text

    def sample(self) -> None:
        """Solutions of problems that the generators have not seen, for the verifiers."""
        with self.samples_file.open("w", encoding="utf-8") as file:
            first = SAMPLE_FROM
            for name, count in self.recipe.samples.items():
                for number, text in self.solutions(name, first, count, self.recipe.per_problem):
                    file.write(json.dumps({"problem": number, "text": text}) + "\n")
                first += count
        self.stages["samples"].touch()

    def judged(self, kind: str) -> Iterator[Judged]:
        """The samples with their labels: of the outcome for all tokens, or of each step up to
        and with the first error."""
        task, seen = self.task, set()
        for line in self.samples_file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            key = (row["problem"], row["text"])
            if key in seen:
                continue
            seen.add(key)
            problem = task.training_problem(row["problem"])
            steps = list(task.split(row["text"]))
            if kind == "outcome":
                yield Judged(problem.prompt, [row["text"]], [task.is_right(problem, row["text"])])
                continue
            labels = task.judge_steps(problem, steps)
            known = labels.index(False) + 1 if False in labels else len(labels)
            yield Judged(problem.prompt, steps, labels[:known])

    def improve(self) -> None:
        """One round of expert iteration on the first generator: its own accepted solutions of
        new problems are added to the examples, and it is trained on."""
        first = next(iter(self.recipe.generators))
        examples = {}
        for number, text in self.solutions(first, HARVEST_FROM, self.recipe.harvest, 8):
            problem = self.task.training_problem(number)
            if self.task.is_right(problem, text):
                examples[problem.prompt, text] = Example(problem.prompt, text)
        print(f"{len(examples)} solutions accepted", file=sys.stderr)
        rows = language_rows(examples.values(), self.tokenizer, self.task.n_positions)
        body = load_weights(self.out / first / "hf")
        self.fit(body, rows, "star", self.recipe.harvest_minutes)


def publish(pipeline: Pipeline) -> None:
    """Write fp16 copies of the finished models to training/models/TASK-NAME."""
    for name, made in pipeline.stages.items():
        if made.name == "hf" and made.exists():
            reward = name in ("outcome", "process")
            model = load_reward(made) if reward else load_weights(made)
            folder = MODELS / f"{pipeline.task.name}-{name}"
            sampling = {**GREEDY, "max_new_tokens": pipeline.task.max_new_tokens}
            export_folder(
                model, made / "tokenizer.json", folder, dtype=torch.float16, sampling=sampling
            )
            print(folder, file=sys.stderr)


def main() -> None:
    args = parse_arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    started = time.monotonic()
    if args.smoke:
        shutil.rmtree(args.out, ignore_errors=True)
    pipeline = Pipeline(TASKS[args.task], args.out, SMOKE if args.smoke else FULL)
    pipeline.run(args.only)
    if args.publish:
        publish(pipeline)
    print(f"done in {(time.monotonic() - started) / 60:.1f} min", file=sys.stderr)


if __name__ == "__main__":
    main()
