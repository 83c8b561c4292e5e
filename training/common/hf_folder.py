"""Write a trained model as a Hugging Face folder, in one move."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from training.common.model import GPT, save_weights
from training.common.reward import RewardModel, save_reward

# Chosen on samples of the trained storyteller; see cards/storyteller.md.
SAMPLING: dict[str, object] = {
    "do_sample": True,
    "temperature": 0.7,
    "top_k": 40,
    "repetition_penalty": 1.1,
    "max_new_tokens": 200,
}


def export_folder(
    model: GPT | RewardModel,
    tokenizer: Path,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    sampling: dict[str, object] = SAMPLING,
) -> None:
    """Build the folder beside its place and rename it, so that a reader never sees half of it."""
    fresh, stale = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for path in (fresh, stale):
        shutil.rmtree(path, ignore_errors=True)
    fresh.mkdir(parents=True)
    if isinstance(model, RewardModel):
        save_reward(model, fresh, dtype)
    else:
        save_weights(model, fresh, dtype)
    shutil.copy(tokenizer, fresh / "tokenizer.json")
    ends = {"bos_token_id": model.config.bos_token_id, "eos_token_id": model.config.eos_token_id}
    if isinstance(model, GPT):
        (fresh / "generation_config.json").write_text(
            json.dumps({**ends, **sampling}, indent=2) + "\n"
        )
    if folder.exists():
        folder.rename(stale)
    fresh.rename(folder)
    shutil.rmtree(stale, ignore_errors=True)
