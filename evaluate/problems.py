"""Two tests with answers: LAMBADA's last words and BLiMP's minimal pairs."""

import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from gpt2edge._checks import check_int, check_path
from gpt2edge.evaluate.estimates import Estimate, mean_of
from gpt2edge.runtime.engine import Engine

Pair: TypeAlias = tuple[str, str]
"""A sentence that is acceptable, and one that is not."""

_WORKSHOP: Final = "__MACOSX"
"""A folder of the published archive that holds no data."""


def read_lambada(path: str | PathLike[str], limit: int | None = None) -> list[str]:
    """Read passages from JSON lines with a ``text`` each, at most ``limit``.

    Raises ValueError for another file.
    """
    check_path("path", path)
    _check_limit(limit)
    passages = [_text(row, "text", path) for row in _rows(Path(path).read_bytes(), path)]
    words = [passage for passage in passages[:limit] if " " in passage.strip()]
    if len(words) < len(passages[:limit]):
        raise ValueError(f"{path}: a passage has a single word; its last word has no context")
    return words


def read_blimp(path: str | PathLike[str], limit: int | None = None) -> list[Pair]:
    """Read (acceptable, unacceptable) sentences from BLiMP's archive.

    At most ``limit`` of each paradigm, which is a file of the archive. Raises ValueError for
    another file.
    """
    check_path("path", path)
    _check_limit(limit)
    pairs: list[Pair] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".jsonl") and _WORKSHOP not in name and "/." not in name:
                    rows = _rows(archive.read(name), f"{path}: {name}")
                    pairs += [_pair(row, f"{path}: {name}") for row in list(rows)[:limit]]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a zip archive: give BLiMP's, as published") from error
    if not pairs:
        raise ValueError(f"{path} holds no .jsonl file: give BLiMP's archive, as published")
    return pairs


def last_words(engine: Engine, passages: Sequence[str]) -> Iterator[bool]:
    """Yield for each passage whether its last word is the greedy completion of the rest."""
    for passage in passages:
        before, _, word = passage.strip().rpartition(" ")
        completion = engine.encode(" " + word, add_special_tokens=False)
        room = engine.config.n_positions + 1 - len(completion)
        (score,) = engine.score(engine.encode(before)[-room:], [completion])
        yield score.is_greedy


def minimal_pairs(engine: Engine, pairs: Sequence[Pair]) -> Iterator[bool]:
    """Yield for each pair whether the acceptable sentence is the more probable one."""
    for pair in pairs:
        good, bad = engine.score("", pair)
        yield good.logprob > bad.logprob


def accuracy(answers: Iterable[bool]) -> Estimate:
    """Return the share of right answers and its standard error."""
    return mean_of(np.array(list(answers), np.float64))


def _check_limit(limit: int | None) -> None:
    if limit is not None:
        check_int("limit", limit, 1, 2**63)


def _rows(data: bytes, origin: object) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(data.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"{origin}, line {number}: this is not a JSON object")
        yield row


def _text(row: dict[str, Any], key: str, origin: object) -> str:
    if not isinstance(value := row.get(key), str):
        raise ValueError(f"{origin}: an object has no text {key!r}")
    return value


def _pair(row: dict[str, Any], origin: object) -> Pair:
    return _text(row, "sentence_good", origin), _text(row, "sentence_bad", origin)
