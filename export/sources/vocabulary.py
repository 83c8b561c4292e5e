"""count_tokens: how many tokens the tokenizer beside a checkpoint has."""

from pathlib import Path

from gpt2edge.errors import ExportError
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.sources.pickled import read_plain


def count_tokens(place: Path) -> int | None:
    """Return the count of tokens of the tokenizer in ``place``, a folder or one of its files.

    None if no file there says it plainly: the tokenizer's own reader decides then.
    """
    folder = place if place.is_dir() else place.parent
    wanted = [place.name] if place.is_file() else ["tokenizer.json", "vocab.json", "encoder.json"]
    for name in wanted:
        count = _of_json(folder / name)
        if count is not None:
            return count
    if not place.is_file() or place.name == "meta.pkl":
        return _of_meta(folder / "meta.pkl")
    return None


def _of_json(path: Path) -> int | None:
    if path.suffix != ".json" or not path.is_file():
        return None
    keys = read_source_json(path)
    ids = list(keys.values())
    if isinstance(keys.get("model"), dict):  # tokenizer.json
        vocab, added = keys["model"].get("vocab"), keys.get("added_tokens") or []
        if not isinstance(vocab, dict) or not isinstance(added, list):
            return None
        ids = [*vocab.values(), *(token.get("id") for token in added if isinstance(token, dict))]
    numbers = [token_id for token_id in ids if type(token_id) is int]
    return max(numbers) + 1 if numbers and len(numbers) == len(ids) else None


def _of_meta(path: Path) -> int | None:
    """Return the count in nanoGPT's ``meta.pkl``."""
    if not path.is_file():
        return None
    try:
        meta = read_plain(path)
    except ExportError:
        return None  # the tokenizer's own reader says what is wrong
    count = meta.get("vocab_size") if type(meta) is dict else None
    return count if type(count) is int else None
