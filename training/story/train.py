"""Train the storyteller.

python -m training.story.train --data DIR --out DIR [--minutes M] [--smoke]
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.common.hf_folder import export_folder
from training.common.model import GPT, PRESETS, GPTConfig
from training.common.muon import Muon
from training.story.data import prepare

GOLDEN = 0.6180339887498949
MUON_LR, ADAM_LR = 0.02, 0.002
WARM_UP, DECAY_FROM = 0.01, 0.30  # shares of the budget
STAGES = ((0.70, 1), (0.50, 2), (0.0, 4))  # from this share on, windows of n_positions / this
TALES_ONLY_FROM, TALE_SHARE = 0.70, 0.70
AVERAGE_EVERY, AVERAGE_KEEP = 10, 0.90


@dataclass(slots=True)
class Progress:
    """What a resumed run needs to know beside the tensors."""

    seconds: float = 0.0
    step: int = 0
    tokens: int = 0
    length: int = 0  # of the windows
    drawn: dict[str, int] = field(default_factory=lambda: {"tale": 0, "novel": 0})


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of INDEX.tsv and books")
    parser.add_argument("--out", type=Path, required=True, help="checkpoints, tokens and hf/")
    parser.add_argument("--minutes", type=float, default=95, help="length of the schedule")
    parser.add_argument(
        "--million-tokens", type=float, help="length of the schedule in tokens instead of minutes"
    )
    parser.add_argument("--preset", choices=[*PRESETS], default="storyteller")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch decides")
    parser.add_argument("--export-every", type=float, default=10, help="minutes between exports")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, end to end, 2 minutes")
    args = parser.parse_args()
    if args.smoke:
        args.preset, args.minutes, args.no_compile, args.batch_tokens = "smoke", 0.5, True, 2048
    return args


def windows(tokens: NDArray[np.uint16], first: int, count: int, length: int) -> NDArray[np.int64]:
    """Windows number `first` to `first + count`: [count, length + 1]. The starts follow the golden
    ratio, so that any run of them covers the text evenly and none is drawn twice."""
    turn = np.modf(np.arange(first, first + count) * GOLDEN)[0]
    starts = (turn * (len(tokens) - length - 1)).astype(np.int64)
    chosen: NDArray[np.int64] = tokens[starts[:, None] + np.arange(length + 1)].astype(np.int64)
    return chosen


def next_batch(
    corpus: dict[str, NDArray[np.uint16]], progress: Progress, done: float, rows: int, length: int
) -> Tensor:
    """[rows, length + 1] tokens: tales and novels at first, tales alone towards the end."""
    share = 1.0 if done >= TALES_ONLY_FROM else TALE_SHARE
    tales = min(rows, int(rows * share + ((progress.step * GOLDEN) % 1.0)))  # dithered rounding
    parts = []
    for group, count in (("tale", tales), ("novel", rows - tales)):
        parts.append(windows(corpus[group], progress.drawn[group], count, length))
        progress.drawn[group] += count
    return torch.from_numpy(np.concatenate(parts))


def learning_rate(done: float) -> float:
    """The factor on the peak rate after a share `done` of the budget."""
    return max(0.0, min(1.0, done / WARM_UP, (1 - done) / (1 - DECAY_FROM)))


class Trainer:
    """Model, optimisers, running average and progress of one run."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        torch.manual_seed(0)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.config = GPTConfig(**PRESETS[args.preset])
        self.corpus = prepare(args.data, args.out / "data", self.config.vocab_size)
        self.model = GPT(self.config).to(self.device)
        matrices = [p for p in self.model.transformer.h.parameters() if p.ndim == 2]
        inside = {id(p) for p in matrices}
        others = [p for p in self.model.parameters() if id(p) not in inside]
        self.muon = Muon(matrices, lr=MUON_LR)
        self.adam = torch.optim.AdamW(others, lr=ADAM_LR, betas=(0.9, 0.95), weight_decay=0.0)
        self.loss = self.model.loss
        if not args.no_compile:
            self.loss = torch.compile(self.model.loss, dynamic=False)
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.progress = Progress()

    def forward(self, batch: Tensor) -> Tensor:
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self.loss(batch[:, :-1], batch[:, 1:])

    def step(self, done: float) -> Tensor:
        """One update; returns the loss in nats per token."""
        length = self.config.n_positions // next(part for since, part in STAGES if done >= since)
        if 0 < self.progress.length < length:
            self.lengthen(self.progress.length, length)
        self.progress.length = length
        rows = max(1, self.args.batch_tokens // length)
        loss = self.forward(next_batch(self.corpus, self.progress, done, rows, length))
        loss.backward()
        for optimiser, peak in ((self.muon, MUON_LR), (self.adam, ADAM_LR)):
            for group in optimiser.param_groups:
                group["lr"] = peak * learning_rate(done)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.progress.tokens += rows * length
        if self.progress.step % AVERAGE_EVERY == 0:
            for name, p in self.model.named_parameters():
                self.average[name].lerp_(p.detach(), 1 - AVERAGE_KEEP)
        return loss.detach()

    @torch.no_grad()
    def lengthen(self, old: int, new: int) -> None:
        """Begin the positions `old` to `new`, not met until now, as copies of learnt ones."""
        later = torch.arange(old, new, device=self.device)
        source = old // 2 + (later - old) % (old // 2)
        for table in (self.model.transformer.wpe.weight, self.average["transformer.wpe.weight"]):
            table[later] = table[source]

    def save(self) -> None:
        """Write the checkpoint beside the last one, then take its place."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimisers": [self.muon.state_dict(), self.adam.state_dict()],
            "progress": {name: getattr(self.progress, name) for name in Progress.__slots__},
        }
        torch.save(state, self.args.out / "checkpoint.new")
        (self.args.out / "checkpoint.new").replace(self.args.out / "checkpoint.pt")

    def resume(self) -> None:
        state = torch.load(self.args.out / "checkpoint.pt", map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.muon.load_state_dict(state["optimisers"][0])
        self.adam.load_state_dict(state["optimisers"][1])
        self.progress = Progress(**state["progress"])

    def export(self, *, averaged: bool) -> float:
        """Refresh hf/ and return its loss on held-out windows; the average is the better model
        as long as the learning rate is high."""
        model = GPT(self.config)
        weights = self.average if averaged else dict(self.model.named_parameters())
        model.load_state_dict({name: p.detach().cpu() for name, p in weights.items()})
        export_folder(model, self.args.out / "data" / "tokenizer.json", self.args.out / "hf")
        held = torch.from_numpy(windows(self.corpus["heldout"], 0, 32, self.config.n_positions))
        fast = torch.autocast("cpu", torch.bfloat16) if not self.args.smoke else nullcontext()
        with torch.no_grad(), fast:
            return float(model.loss(held[:, :-1], held[:, 1:]))


def report(progress: Progress, loss: float) -> None:
    """One line of progress on stderr."""
    minutes, millions = progress.seconds / 60, progress.tokens / 1e6
    rate = progress.tokens / max(progress.seconds, 1e-9)
    line = f"{minutes:6.1f} min  step {progress.step:6d}  loss {loss:.4f}"
    print(f"{line}  {millions:.2f} M tokens  {rate:.0f}/s", file=sys.stderr)


def share_done(args: argparse.Namespace, progress: Progress) -> float:
    """Return how much of the schedule is over, from 0 to 1."""
    if args.million_tokens is not None:
        return progress.tokens / float(args.million_tokens * 1e6)
    return progress.seconds / float(args.minutes * 60)


def train(trainer: Trainer) -> None:
    """Run the schedule, by wall-clock time or by tokens.

    By time, a shared machine shortens the training and not the decay of the learning rate. By
    tokens, a run may stop and resume as often as it likes and ends as an undisturbed one would.
    """
    args, progress = trainer.args, trainer.progress
    before = progress.seconds
    start = shown = exported = time.monotonic()
    running = 0.0
    while (done := share_done(args, progress)) < 1:
        loss = float(trainer.step(done))
        running = 0.98 * running + 0.02 * loss if running else loss
        now = time.monotonic()
        progress.seconds = before + now - start
        if now - shown > 10:
            shown = now
            report(progress, running)
        if now - exported > args.export_every * 60:
            exported = now
            trainer.save()
            print(f"held out {trainer.export(averaged=True):.4f} (averaged)", file=sys.stderr)
    trainer.save()
    print(f"held out {trainer.export(averaged=False):.4f} (final)", file=sys.stderr)


def main() -> None:
    args = parse_arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(args)
    if args.resume and (args.out / "checkpoint.pt").exists():
        trainer.resume()
    train(trainer)


if __name__ == "__main__":
    main()
