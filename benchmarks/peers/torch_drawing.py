"""What the systems around PyTorch share: drawing tokens, reading log-probabilities."""

from collections.abc import Sequence

import torch

from benchmarks.peers.worker import TEMPERATURE, TOP_K


def draw(logits: torch.Tensor) -> torch.Tensor:
    """One token for each row of ``logits`` [rows, vocab_size]: [rows, 1]."""
    values, places = torch.topk(logits / TEMPERATURE, TOP_K)
    return places.gather(1, torch.multinomial(values.softmax(-1), 1))


def read_logprobs(logits: torch.Tensor, token_ids: Sequence[int]) -> list[float]:
    """Log-probability of ``token_ids[1:]`` under ``logits`` [tokens, vocab_size]."""
    picked = torch.tensor(token_ids[1:])[:, None]
    values: list[float] = logits[:-1].log_softmax(-1).gather(1, picked)[:, 0].tolist()
    return values
