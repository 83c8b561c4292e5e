"""Train the solvers of a task, from its problems to the checkpoints in training/models:
python -m training.solvers.stepmath --task stepmath --out runs/stepmath [--only NAME] [--smoke]."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

import gpt2edge
from gpt2edge.export import export_checkpoint
from training.common.grow import deepened, widened
from training.common.hf_folder import export_folder
from training.common.model import GPT, load_weights
from training.common.reward import RewardModel, load_reward
from training.solvers.fit import Plan, fit, new_generator
from training.solvers.labels import judged_lines, judged_steps, judged_whole
from training.solvers.rows import Example, Judged, Rows, drill_rows, language_rows, value_rows
from training.solvers.tasks import TASKS, Task
from training.story.tokenizer import train_digit_tokenizer

MODELS = Path(__file__).resolve().parents[1] / "models"
GREEDY: dict[str, object] = {"do_sample": False}
HARVEST_FROM = 10_000_000  # numbers of problems that no generator was trained on
SAMPLE_FROM = 20_000_000
JUDGED_DRILLS_FROM = 10_000_000
TEMPERATURE = 1.0
MORE_LAYERS = 2  # of a verifier: to compare a token with what the body foretold of it
PROMPTS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Size:
    """A generator: how long it is trained, from nothing or grown from a smaller one.

    Minutes are of one core's time, or of a GPU's.
    """

    minutes: float
    grown_from: str | None = None
    layers: int = 0  # when grown
    n_head: int | None = None  # of a new one; the preset's, if None


@dataclass(frozen=True, slots=True)
class Recipe:
    """Sizes, minutes and amounts."""

    generators: dict[str, Size]  # preset, or name of a grown one
    examples: int  # to train the generators on
    drills: int  # beside them
    body: str  # the generator that becomes the verifiers
    verifier_minutes: dict[str, float]  # a few passes
    problems: int  # to sample solutions of, from the first generator
    per_problem: int  # samples
    harvest: int  # problems for the round of self-improvement of the first generator
    harvest_minutes: float


FULL = Recipe(
    generators={
        "0.1m": Size(14, n_head=3),  # of 16 channels: half as much attention as with 8
        "0.5m": Size(17, "0.1m", layers=4),
        "3.7m": Size(20, "0.5m", layers=8),
    },
    examples=200_000,
    drills=100_000,
    body="0.1m",
    verifier_minutes={"outcome": 2, "process": 18},
    problems=4000,
    per_problem=12,
    harvest=4000,
    harvest_minutes=0.6,
)
ON_GPU = replace(
    FULL,
    generators={"0.5m": Size(3), "3m": Size(6), "30m": Size(15)},
    examples=1_000_000,
    drills=500_000,
    body="0.5m",
)
SMOKE = Recipe(
    generators={"smoke": Size(0.3), "grown": Size(0.1, "smoke", layers=3)},
    examples=2000,
    drills=500,
    body="grown",
    verifier_minutes={"outcome": 0.1, "process": 0.1},
    problems=64,
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
            rows = Rows.load(self.stages["data"])
            self.fit(self.new_generator(name), rows, name, recipe.generators[name].minutes)
        elif name == "samples":
            self.sample()
        elif name == "star":
            self.improve()
        else:
            body = load_weights(self.out / recipe.body / "hf")
            model = RewardModel.on(deepened(body, body.config.n_layer + MORE_LAYERS))
            rows = value_rows(self.judged(name), self.tokenizer, self.task.n_positions, where="all")
            self.fit(model, rows, name, recipe.verifier_minutes[name])

    def new_generator(self, name: str) -> GPT:
        """A model to train: random, or what a smaller one has learnt."""
        size = self.recipe.generators[name]
        if size.grown_from is None:
            task = self.task
            return new_generator(name, task.vocab_size, task.n_positions, n_head=size.n_head)
        smaller = load_weights(self.out / size.grown_from / "hf")
        return deepened(widened(smaller), size.layers)

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
        drills = (self.task.drill(at) for at in range(self.recipe.drills))
        width = self.task.n_positions
        rows = language_rows(examples, tokenizer, width) + drill_rows(drills, tokenizer, width)
        rows.save(self.stages["data"])

    def fit(self, model: GPT | RewardModel, rows: Rows, name: str, minutes: float) -> None:
        """Train, and write the Hugging Face folder."""
        size = self.recipe.generators.get(name)
        if isinstance(model, RewardModel):
            plan = Plan(minutes, 2048, muon_lr=0.01, adam_lr=0.002)
        elif name == "star":  # what it knows must stay
            plan = Plan(minutes, 1024, muon_lr=0.002, adam_lr=0.0005)
        elif size is not None and size.grown_from is None:
            plan = Plan(minutes, 2048, muon_lr=0.02, adam_lr=0.004)
        else:  # a model that knows much already
            plan = Plan(minutes, 1024, muon_lr=0.01, adam_lr=0.002)
        fitted = fit(model, rows, self.out / name, plan, resume=True)
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
                if completion.finish_reason == "eos":
                    yield numbers[place // each], completion.text

    def sample(self) -> None:
        """Solutions of problems that the generators have not seen, for the verifiers."""
        first, recipe = next(iter(self.recipe.generators)), self.recipe
        with self.samples_file.open("w", encoding="utf-8") as file:
            drawn = self.solutions(first, SAMPLE_FROM, recipe.problems, recipe.per_problem)
            for number, text in drawn:
                file.write(json.dumps({"problem": number, "text": text}) + "\n")
        self.stages["samples"].touch()

    def judged(self, kind: str) -> Iterator[Judged]:
        """What a verifier learns from: wrong and right in equal parts."""
        samples: dict[int, list[str]] = {}
        for line in self.samples_file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            samples.setdefault(row["problem"], []).append(row["text"])
        for number, texts in samples.items():
            problem, different = self.task.training_problem(number), [*dict.fromkeys(texts)]
            if kind == "outcome":
                yield from judged_whole(self.task, problem, different)
            else:
                yield from judged_steps(self.task, problem, different)
        if kind == "process":
            for number in range(JUDGED_DRILLS_FROM, JUDGED_DRILLS_FROM + self.recipe.drills // 2):
                yield judged_lines(self.task.judged_drill(number))

    def improve(self) -> None:
        """One round of expert iteration on the first generator: it is trained on, with its own
        accepted solutions of new problems and as many of its examples."""
        first = next(iter(self.recipe.generators))
        examples = {}
        for number, text in self.solutions(first, HARVEST_FROM, self.recipe.harvest, 8):
            problem = self.task.training_problem(number)
            if self.task.is_right(problem, text):
                examples[problem.prompt, text] = Example(problem.prompt, text)
        print(f"{len(examples)} solutions accepted", file=sys.stderr)
        if not examples:
            print("nothing to train on: the round is left out", file=sys.stderr)
            return
        rows = language_rows(examples.values(), self.tokenizer, self.task.n_positions)
        rows += Rows.load(self.stages["data"])[: len(rows)]
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
    recipe = ON_GPU if torch.cuda.is_available() else FULL
    if args.smoke:
        recipe = SMOKE
        shutil.rmtree(args.out, ignore_errors=True)
    pipeline = Pipeline(TASKS[args.task], args.out, recipe)
    pipeline.run(args.only)
    if args.publish:
        publish(pipeline)
    print(f"done in {(time.monotonic() - started) / 60:.1f} min", file=sys.stderr)


if __name__ == "__main__":
    main()
