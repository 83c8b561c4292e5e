"""GPT-2 in PyTorch, with the names of the published checkpoints, so that it saves as one."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class GPTConfig:
    """The architecture, in the keys of the published configuration files."""

    vocab_size: int = 4096
    n_positions: int = 512
    n_embd: int = 256
    n_layer: int = 6
    n_head: int = 4
    layer_norm_epsilon: float = 1e-5
    bos_token_id: int = 0
    eos_token_id: int = 0


PRESETS: dict[str, dict[str, int]] = {
    "smoke": {"vocab_size": 512, "n_positions": 128, "n_embd": 64, "n_layer": 2, "n_head": 2},
    "storyteller": {},
    "storyteller-25m": {"vocab_size": 8192, "n_embd": 512, "n_layer": 7, "n_head": 8},
    "storyteller-124m": {
        "vocab_size": 16384, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
    },
}  # fmt: skip


class Conv1D(nn.Module):
    """A linear layer that stores its weight as [in, out], as the published checkpoints do."""

    def __init__(self, n_in: int, n_out: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out) * std)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.t(), self.bias)  # [batch, time, n_out]


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        width, std = config.n_embd, config.n_embd**-0.5
        self.c_attn = Conv1D(width, 3 * width, 0.6 * std)
        self.c_proj = Conv1D(width, width, 0.6 * std / math.sqrt(2 * config.n_layer))

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = self.c_attn(x).split(width, dim=2)
        heads = [
            part.view(batch, time, self.n_head, -1).transpose(1, 2) for part in (q, k, v)
        ]  # 3 x [batch, n_head, time, head_dim]
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=True)
        return self.c_proj(mixed.transpose(1, 2).reshape(batch, time, width))


class MLP(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, std = config.n_embd, config.n_embd**-0.5
        self.c_fc = Conv1D(width, 4 * width, 0.6 * std)
        self.c_proj = Conv1D(4 * width, width, 0.3 * std / math.sqrt(2 * config.n_layer))

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """One layer: attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Embeddings, blocks and the last norm."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        nn.init.normal_(self.wte.weight, std=0.02)
        nn.init.normal_(self.wpe.weight, std=0.01)

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.wte(tokens) + self.wpe(positions)  # [batch, time, n_embd]
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class GPT(nn.Module):
    """GPT-2 with a language-model head tied to the token embedding."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = Transformer(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [batch, time, vocab_size]."""
        return functional.linear(self.transformer(tokens), self.transformer.wte.weight)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats; targets of -100 do not count."""
        logits = self(tokens).flatten(0, 1)  # [batch * time, vocab_size]
        return functional.cross_entropy(logits.float(), targets.flatten())

    def sparse_loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The same, with logits only where a target counts: for texts with long prompts."""
        counts = targets >= 0
        hidden = self.transformer(tokens)[counts]  # [count, n_embd]
        logits = functional.linear(hidden, self.transformer.wte.weight)
        return functional.cross_entropy(logits.float(), targets[counts])


def hf_config(config: GPTConfig) -> dict[str, object]:
    """The `config.json` of a published GPT-2 checkpoint with this architecture."""
    fixed = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "n_inner": None,
        "n_ctx": config.n_positions,
        "scale_attn_weights": True,
        "tie_word_embeddings": True,
        "use_cache": True,
    }
    return {**fixed, **asdict(config)}


def save_weights(model: GPT, folder: Path, dtype: torch.dtype) -> None:
    """Write config.json and model.safetensors (the tied head is not stored twice)."""
    named = model.named_parameters()
    tensors = {name: t.detach().to("cpu", dtype).contiguous() for name, t in named}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {**hf_config(model.config), "dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_weights(folder: Path) -> GPT:
    """The model of a folder that `save_weights` wrote, in fp32."""
    raw = json.loads((folder / "config.json").read_text())
    model = GPT(GPTConfig(**{key: raw[key] for key in GPTConfig.__dataclass_fields__}))
    tensors = {name: t.float() for name, t in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(tensors)
    return model
