"""Muon: momentum whose direction is made nearly orthogonal (Jordan et al., 2024)."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

# The quintic's coefficients as published: they take singular values of (0, 1] near 1 in 5 rounds.
QUINTIC = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Replace each [rows <= columns] matrix of a stack by its nearest half-orthogonal one."""
    a, b, c = QUINTIC
    x = matrices.bfloat16()  # [count, rows, columns]
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.transpose(1, 2)  # [count, rows, rows]
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.to(matrices.dtype)


def square_parts(weight: Tensor) -> list[Tensor]:
    """Views of a weight to be treated alone: query, key and value of `c_attn`, or all of it."""
    rows, columns = weight.shape
    parts = list(weight.split(rows, dim=1)) if columns == 3 * rows else [weight]
    return [part if part.shape[0] <= part.shape[1] else part.t() for part in parts]


def gain(view: Tensor) -> float:
    """Square root of outputs over inputs where a matrix widens: a transposed view narrows."""
    rows, columns = view.shape
    return (columns / rows) ** 0.5 if view.is_contiguous() else 1.0


class Muon(torch.optim.Optimizer):
    """For the matrices inside the blocks; embeddings, norms and biases belong to AdamW."""

    def __init__(self, params: list[nn.Parameter], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override,unused-ignore]
        for group in self.param_groups:
            stacks: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                if not state:
                    state["momentum"] = torch.zeros_like(param)
                buffer = state["momentum"]
                buffer.lerp_(param.grad, 1 - group["momentum"])
                ahead = param.grad.lerp(buffer, group["momentum"])  # Nesterov's look ahead
                for view, part in zip(square_parts(param), square_parts(ahead), strict=True):
                    stacks[view.shape].append((view, part))
            for pairs in stacks.values():
                updates = orthogonalise(torch.stack([part for _, part in pairs]))
                for (view, _), update in zip(pairs, updates, strict=True):
                    view.add_(update, alpha=-group["lr"] * gain(view))
