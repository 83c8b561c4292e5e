"""A GPT-2 body with one number after every token: a reward model, or a value."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from training.common.model import GPT, GPTConfig, Transformer, hf_config


class RewardModel(nn.Module):
    """`GPT2ForTokenClassification` with one label."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)
        self.classifier = nn.Linear(config.n_embd, 1)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @classmethod
    def on(cls, body: GPT) -> RewardModel:
        """A fresh head on a copy of a language model's body."""
        model = cls(body.config)
        model.transformer.load_state_dict(body.transformer.state_dict())
        return model

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, time]."""
        return self.classifier(self.transformer(tokens)).squeeze(-1)

    def loss(self, tokens: Tensor, goals: Tensor) -> Tensor:
        """Binary cross-entropy of the labels, and beside it the language model's own loss on the
        tokens that are labelled right, which keeps the body's knowledge (Cobbe et al. 2021).

        Goals below 0 do not count.
        """
        hidden = self.transformer(tokens)  # [batch, time, n_embd]
        counts = goals >= 0
        logits = self.classifier(hidden[counts]).squeeze(-1).float()  # [count]
        judged = functional.binary_cross_entropy_with_logits(logits, goals[counts].float())
        right = goals[:, 1:] > 0.5
        foretold = functional.linear(hidden[:, :-1][right], self.transformer.wte.weight)
        written = functional.cross_entropy(foretold.float(), tokens[:, 1:][right])
        return judged + (written if bool(right.any()) else 0.0)


def save_reward(model: RewardModel, folder: Path, dtype: torch.dtype) -> None:
    """Write config.json and model.safetensors."""
    tensors = {
        name: t.detach().to("cpu", dtype).contiguous() for name, t in model.named_parameters()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        **hf_config(model.config),
        "architectures": ["GPT2ForTokenClassification"],
        "id2label": {"0": "right"},
        "label2id": {"right": 0},
        "dtype": str(dtype).removeprefix("torch."),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_reward(folder: Path) -> RewardModel:
    """The model of a folder that `save_reward` wrote, in fp32."""
    raw = json.loads((folder / "config.json").read_text())
    model = RewardModel(GPTConfig(**{key: raw[key] for key in GPTConfig.__dataclass_fields__}))
    tensors = {name: t.float() for name, t in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(tensors)
    return model
