"""A JSONL file of prompts to a JSONL file of completions, in batches.

    python examples/batch.py prompts.jsonl completions.jsonl [MODEL]

A line in is {"prompt": "...", "id": anything}; a line out adds text, finish_reason and truncated,
in the same order. Lines that cannot be used are reported by number on stderr, and the program ends
with 1 if there were any.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import gpt2edge
from gpt2edge import GREEDY, Engine

BATCH = 16
NEW_TOKENS = 24


def records(lines: Iterable[str]) -> Iterator[dict[str, Any] | str]:
    """Each line's record, or what is wrong with it."""
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            yield f"line {number}: not JSON: {error.msg}"
            continue
        if not isinstance(record, dict) or not isinstance(record.get("prompt"), str):
            yield f'line {number}: no "prompt" that is a text'
        else:
            yield record


def batches(items: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """The items by ``size``."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def complete(engine: Engine, batch: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The records with their completions, decoded together."""
    prompts = [record["prompt"] for record in batch]
    completions = engine.generate_batch(
        prompts, max_new_tokens=NEW_TOKENS, sampling=GREEDY, overflow="truncate-left"
    )
    for record, completion in zip(batch, completions, strict=True):
        yield record | {
            "text": completion.text,
            "finish_reason": completion.finish_reason,
            "truncated": completion.truncated,
        }


def main(source: str, target: str, *model: str) -> int:
    """The number of lines that could not be used, at most 1."""
    failed = 0

    def usable(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        nonlocal failed
        for record in records(lines):
            if isinstance(record, str):
                failed = 1
                print(record, file=sys.stderr)
            else:
                yield record

    partial = Path(f"{target}.partial")  # the target appears when it is whole
    with (
        gpt2edge.load(*model) as engine,
        Path(source).open(encoding="utf-8-sig") as lines,
        partial.open("w", encoding="utf-8") as out,
    ):
        for batch in batches(usable(lines), BATCH):
            for record in complete(engine, batch):
                out.write(json.dumps(record, ensure_ascii=False) + "\n")
    partial.replace(target)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
