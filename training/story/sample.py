"""Print unedited samples of a model folder, or store its fp16 copy:
python -m training.story.sample --model DIR [--prompt TEXT ...] [--count N] [--half DIR]."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import GPT2LMHeadModel

from training.common.hf_folder import export_folder
from training.common.model import load_weights

PROMPTS = (
    "Once upon a time",
    "There was once a king who had three sons.",
    "The little princess looked out of the window and saw",
    '"Who are you?" asked the dragon.',
    "Deep in the forest there lived an old woman who",
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompt", action="append", help="again for several; default: five")
    parser.add_argument("--count", type=int, default=1, help="samples of each prompt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", default="{}", help="JSON that overrides generation_config.json")
    parser.add_argument("--half", type=Path, help="write the fp16 copy here and print nothing")
    return parser.parse_args()


def completions(
    model: GPT2LMHeadModel,
    tokenizer: Tokenizer,
    prompt: str,
    count: int,
    settings: dict[str, object],
) -> list[str]:
    """Prompt and completion of `count` samples; a story that ended says so."""
    tokens = torch.tensor([tokenizer.encode(prompt).ids] * count)  # [count, time]
    rows: Tensor = model.generate(tokens, attention_mask=torch.ones_like(tokens), **settings)
    texts = []
    for row in rows.tolist():
        body = row[tokens.shape[1] :]
        end = model.config.eos_token_id
        ended = end in body
        body = body[: body.index(end)] if ended else body
        texts.append(tokenizer.decode(row[: tokens.shape[1]] + body) + (" [end]" if ended else ""))
    return texts


def main() -> None:
    args = parse_arguments()
    file = args.model / "tokenizer.json"
    if args.half:
        export_folder(load_weights(args.model), file, args.half, dtype=torch.float16)
        return
    model = GPT2LMHeadModel.from_pretrained(args.model).eval()
    tokenizer = Tokenizer.from_file(str(file))
    settings = {"pad_token_id": model.config.eos_token_id, **json.loads(args.set)}
    torch.manual_seed(args.seed)
    for prompt in args.prompt or PROMPTS:
        for text in completions(model, tokenizer, prompt, args.count, settings):
            sys.stdout.write(text + "\n\n---\n\n")


if __name__ == "__main__":
    main()
