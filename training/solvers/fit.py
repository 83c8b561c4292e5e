"""Train a small solver, or the reward model that judges it, on rows of tokens.

`fit` is what `stepmath.py` and `game24.py` call. Its schedule is a function of time: on a CPU
of the processor time of the thread that trains, so that a machine that is shared, or a run that is
stopped for a while, changes nothing; on a GPU of the wall clock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.common.model import GPT, GPTConfig
from training.common.muon import Muon
from training.common.reward import RewardModel
from training.solvers.rows import Rows, batches, padded

PRESETS: dict[str, dict[str, int]] = {
    "smoke": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "0.1m": {"n_embd": 48, "n_layer": 3, "n_head": 6},
    "0.5m": {"n_embd": 96, "n_layer": 4, "n_head": 12},
    "3m": {"n_embd": 256, "n_layer": 4, "n_head": 16},
    "30m": {"n_embd": 512, "n_layer": 9, "n_head": 8},  # for a GPU
}
BF16_FROM = 128  # n_embd: on a CPU, narrower models are faster in float32
WARM_UP, DECAY_FROM = 0.02, 0.40  # shares of the budget
WEIGHT_DECAY = 0.01
AVERAGE_LAST = 0.97  # of the running average at the end, a step


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard to train."""

    minutes: float
    batch_tokens: int = 4096
    muon_lr: float = 0.02
    adam_lr: float = 0.003
    save_every: float = 2.0  # minutes


@dataclass(slots=True)
class Progress:
    """What a resumed run needs to know beside the tensors."""

    seconds: float = 0.0
    step: int = 0
    tokens: int = 0
    epoch: int = 0
    batch: int = 0  # of the epoch


def new_generator(
    preset: str, vocab_size: int, n_positions: int = 256, *, n_head: int | None = None
) -> GPT:
    """A language model of random weights, the same each time."""
    torch.manual_seed(0)
    sizes = PRESETS[preset] if n_head is None else {**PRESETS[preset], "n_head": n_head}
    return GPT(GPTConfig(vocab_size=vocab_size, n_positions=n_positions, **sizes))


class Fit:
    """Model, optimisers, average and progress of one run."""

    def __init__(self, model: GPT | RewardModel, rows: Rows, out: Path, plan: Plan) -> None:
        self.rows, self.out, self.plan = rows, out, plan
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        inner = model.transformer.h.parameters()
        matrices = [p for p in inner if p.ndim == 2]
        inside = {id(p) for p in matrices}
        others = [p for p in model.parameters() if id(p) not in inside]
        self.muon = Muon(matrices, lr=plan.muon_lr)
        self.adam = torch.optim.AdamW(
            others, lr=plan.adam_lr, betas=(0.9, 0.97), weight_decay=WEIGHT_DECAY
        )
        on_gpu = self.device.type == "cuda"
        self.half = on_gpu or model.config.n_embd >= BF16_FROM
        # Models as small as these gain nothing from compilation on a CPU: half a minute each.
        loss = model.sparse_loss if isinstance(model, GPT) else model.loss
        self.loss: Callable[[Tensor, Tensor], Tensor] = (
            torch.compile(loss, dynamic=True) if on_gpu else loss
        )
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.progress = Progress()

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """Row numbers without end, from where the progress says."""
        progress = self.progress
        while True:
            plan = list(batches(self.rows, self.plan.batch_tokens, progress.epoch))
            while progress.batch < len(plan):
                progress.batch += 1
                yield plan[progress.batch - 1]
            progress.epoch, progress.batch = progress.epoch + 1, 0

    def forward(self, chosen: NDArray[np.int64]) -> Tensor:
        """The loss on these rows."""
        width = padded(int(self.rows.lengths[chosen].max()))
        ids = torch.from_numpy(self.rows.ids[chosen, :width].astype(np.int64))
        goals = torch.from_numpy(self.rows.goals[chosen, :width])
        if isinstance(self.model, GPT):
            goals = goals.long()
        self.progress.tokens += int(self.rows.lengths[chosen].sum())
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            return self.loss(ids.to(self.device), goals.to(self.device))

    def step(self, chosen: NDArray[np.int64], done: float) -> float:
        """One update; returns the loss."""
        loss = self.forward(chosen)
        loss.backward()
        factor = max(0.0, min(1.0, done / WARM_UP, (1 - done) / (1 - DECAY_FROM)))
        for optimiser, peak in ((self.muon, self.plan.muon_lr), (self.adam, self.plan.adam_lr)):
            for group in optimiser.param_groups:
                group["lr"] = peak * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        self.progress.step += 1
        with torch.no_grad():
            keep = min(AVERAGE_LAST, self.progress.step / (self.progress.step + 10))
            for name, p in self.model.named_parameters():
                self.average[name].lerp_(p, 1 - keep)
        return float(loss.detach())

    def save(self) -> None:
        """Write the checkpoint beside the last one, then take its place."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimisers": [self.muon.state_dict(), self.adam.state_dict()],
            "progress": asdict(self.progress),
        }
        self.out.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.out / "checkpoint.new")
        (self.out / "checkpoint.new").replace(self.out / "checkpoint.pt")

    def resume(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.out / "checkpoint.pt", map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.muon.load_state_dict(state["optimisers"][0])
        self.adam.load_state_dict(state["optimisers"][1])
        self.progress = Progress(**state["progress"])

    def averaged(self) -> nn.Module:
        """The model with the running average of its weights, on the CPU."""
        model = type(self.model)(self.model.config)
        model.load_state_dict({name: p.cpu() for name, p in self.average.items()})
        return model


def fit(
    model: GPT | RewardModel, rows: Rows, out: Path, plan: Plan, *, resume: bool = False
) -> nn.Module:
    """Train for `plan.minutes` and return the averaged model. With `resume` a run that was
    broken off goes on from `out / "checkpoint.pt"`."""
    run = Fit(model, rows, out, plan)
    if resume and (out / "checkpoint.pt").exists():
        run.resume()
    progress, budget = run.progress, plan.minutes * 60
    source = run.batches()
    clock = time.monotonic if run.device.type == "cuda" else time.thread_time
    began = shown = saved = clock()
    before, running = progress.seconds, 0.0
    while progress.seconds < budget:
        loss = run.step(next(source), progress.seconds / budget)
        running = 0.98 * running + 0.02 * loss if running else loss
        now = clock()
        progress.seconds = before + now - began
        if now - shown > 10:
            shown = now
            report(progress, running)
        if now - saved > plan.save_every * 60:
            saved = now
            run.save()
    run.save()
    report(progress, running)
    return run.averaged()


def report(progress: Progress, loss: float) -> None:
    """One line of progress on stderr."""
    rate = progress.tokens / max(progress.seconds, 1e-9)
    line = f"{progress.seconds / 60:6.1f} min  step {progress.step:6d}  loss {loss:.4f}"
    tail = f"{progress.tokens / 1e6:.2f} M tokens  {rate:.0f}/s  epoch {progress.epoch}"
    print(f"{line}  {tail}", file=sys.stderr, flush=True)
