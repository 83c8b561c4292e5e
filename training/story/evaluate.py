"""Measure a model folder: python -m training.story.evaluate --model DIR [--heldout FILE]
[--wikitext FILE] [--lambada FILE] [--blimp ZIP]. Prints one JSON; progress goes to stderr."""

from __future__ import annotations

import argparse
import json
import math
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.common.model import GPT, load_weights
from training.story.tokenizer import END, encode_file

Z95 = 1.959964
PAD = -100


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder in Hugging Face layout")
    parser.add_argument("--heldout", type=Path, help="stories, each before an end-of-text line")
    parser.add_argument("--wikitext", type=Path, help="a raw text, scored as one document")
    parser.add_argument("--lambada", type=Path, help="JSON lines with a 'text' each")
    parser.add_argument("--blimp", type=Path, help="the archive of minimal pairs")
    parser.add_argument("--stride", type=int, default=256, help="new tokens in each window")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch decides")
    return parser.parse_args()


def token_losses(model: GPT, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Nats and "was it the likeliest" of every target: two [batch, time]; 0 and True at padding."""
    logits = model(inputs)  # [batch, time, vocab_size]
    flat, wanted = logits.flatten(0, 1), targets.flatten()
    losses = functional.cross_entropy(flat, wanted, ignore_index=PAD, reduction="none")
    return losses.view_as(targets), (logits.argmax(2) == targets) | (targets == PAD)


def strided(tokens: NDArray[np.int64], length: int, stride: int) -> Iterator[NDArray[np.int64]]:
    """[2, length] inputs and targets whose counted targets tile the text exactly once."""
    for new in range(1, len(tokens), stride):
        end = min(new + stride, len(tokens))
        start = max(0, end - 1 - length)
        pair = np.full((2, length), PAD, dtype=np.int64)
        pair[0, :] = 0
        pair[0, : end - 1 - start] = tokens[start : end - 1]
        pair[1, new - 1 - start : end - 1 - start] = tokens[new:end]
        yield pair


def stream_perplexity(
    model: GPT, tokens: NDArray[np.int64], byte_count: int, args: argparse.Namespace
) -> dict[str, float]:
    """Perplexity per token and bits per byte of one long text; windows are the clusters of the
    standard error."""
    length = model.config.n_positions
    pairs = list(strided(tokens, length, args.stride))
    rows = max(1, args.batch_tokens // length)
    sums: list[float] = []
    counts: list[int] = []
    for first in range(0, len(pairs), rows):
        batch = torch.from_numpy(np.stack(pairs[first : first + rows]))
        losses, _ = token_losses(model, batch[:, 0], batch[:, 1])
        sums.extend(losses.sum(1).tolist())
        counts.extend((batch[:, 1] != PAD).sum(1).tolist())
    return perplexity_row(np.array(sums), np.array(counts), byte_count)


def perplexity_row(
    sums: NDArray[np.float64], counts: NDArray[np.int64], byte_count: int
) -> dict[str, float]:
    """Figures from nats and tokens per cluster, with the half-width of a 95 % interval."""
    mean = sums.sum() / counts.sum()
    residual = sums - mean * counts
    error = math.sqrt(float((residual**2).sum())) / counts.sum()
    bits = sums.sum() / math.log(2) / byte_count
    return {
        "tokens": int(counts.sum()),
        "bytes": byte_count,
        "perplexity": round(math.exp(mean), 3),
        "perplexity_ci95": round(math.exp(mean) * Z95 * error, 3),
        "bits_per_byte": round(bits, 4),
        "bits_per_byte_ci95": round(bits * Z95 * error / mean, 4),
    }


def batches(encoded: list[list[int]], batch_tokens: int) -> Iterator[tuple[list[int], Tensor]]:
    """(indices, [rows, time] tokens padded with PAD), texts of like length together."""
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    while order:
        longest = len(encoded[order[-1]])
        rows = max(1, batch_tokens // longest)
        chosen, order = order[-rows:], order[:-rows]
        block = torch.full((len(chosen), longest), PAD)
        for row, i in enumerate(chosen):
            block[row, : len(encoded[i])] = torch.tensor(encoded[i])
        yield chosen, block


def score_texts(
    model: GPT, encoded: list[list[int]], batch_tokens: int, last: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Nats of each text and whether its last `last[i]` tokens were all the likeliest. A text
    begins with the end-of-text token and is at most n_positions + 1 long."""
    nats = np.zeros(len(encoded))
    exact = np.zeros(len(encoded), dtype=np.bool_)
    for done, (chosen, block) in enumerate(batches(encoded, batch_tokens)):
        inputs, targets = block[:, :-1].clamp(min=0), block[:, 1:]
        losses, hits = token_losses(model, inputs, targets)
        for row, i in enumerate(chosen):
            end = len(encoded[i]) - 1
            nats[i] = float(losses[row, :end].sum())
            exact[i] = bool(hits[row, end - last[i] : end].all())
        if done % 50 == 0:
            print(f"  batch {done}", file=sys.stderr)
    return nats, exact


def share(hits: float, count: int) -> dict[str, float]:
    """A share with the ends of Wilson's 95 % interval, in percent."""
    p, z2 = hits / count, Z95 * Z95
    middle = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(p * (1 - p) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    percent = [round(100 * value, 2) for value in (p, middle - half, middle + half)]
    return {"accuracy": percent[0], "low": percent[1], "high": percent[2], "count": count}


def lambada(
    model: GPT, tokenizer: Tokenizer, path: Path, args: argparse.Namespace
) -> dict[str, object]:
    """Perplexity of whole passages, and how often the last word is the greedy continuation."""
    texts = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    eos, limit = model.config.eos_token_id, model.config.n_positions
    encoded, last = [], []
    for text in texts:
        before, _, word = text.rpartition(" ")
        tail = tokenizer.encode(" " + word).ids
        encoded.append([eos, *(tokenizer.encode(before).ids + tail)[-limit:]])
        last.append(len(tail))
    nats, exact = score_texts(model, encoded, args.batch_tokens, last)
    counts = np.array([len(ids) - 1 for ids in encoded])
    row = perplexity_row(nats, counts, sum(len(text.encode()) for text in texts))
    return {**row, "last_word": share(float(exact.sum()), len(texts))}


def blimp(
    model: GPT, tokenizer: Tokenizer, path: Path, args: argparse.Namespace
) -> dict[str, object]:
    """How often the acceptable sentence of a pair has the higher probability."""
    groups: dict[str, list[bool]] = defaultdict(list)
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jsonl") and "/." not in n)
        names = [name for name in names if "__MACOSX" not in name]
        pairs = [json.loads(row) for name in names for row in archive.read(name).splitlines()]
    sentences = [pair[side] for pair in pairs for side in ("sentence_good", "sentence_bad")]
    eos = model.config.eos_token_id
    encoded = [[eos, *encoding.ids] for encoding in tokenizer.encode_batch(sentences)]
    nats, _ = score_texts(model, encoded, args.batch_tokens, [1] * len(encoded))
    right = nats[0::2] < nats[1::2]
    for pair, good in zip(pairs, right, strict=True):
        groups[pair["linguistics_term"]].append(bool(good))
    terms = {term: share(sum(hits), len(hits)) for term, hits in sorted(groups.items())}
    return {**share(float(right.sum()), len(pairs)), "paradigms": len(names), "terms": terms}


def main() -> None:
    args = parse_arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    model = load_weights(args.model).eval()
    file = args.model / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    report: dict[str, object] = {"context": model.config.n_positions, "stride": args.stride}
    eos = np.array([model.config.eos_token_id])
    for name, path in (("heldout", args.heldout), ("wikitext", args.wikitext)):
        if path:
            print(name, file=sys.stderr)
            size = len(path.read_text(encoding="utf-8").replace(END + "\n", "").encode())
            tokens = np.concatenate([eos, encode_file(file, path).astype(np.int64)])
            report[name] = stream_perplexity(model, tokens, size, args)
    for name, path, measure in (("lambada", args.lambada, lambada), ("blimp", args.blimp, blimp)):
        if path:
            print(name, file=sys.stderr)
            report[name] = measure(model, tokenizer, path, args)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
