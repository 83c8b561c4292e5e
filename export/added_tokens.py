"""Tokens beside a byte-level vocabulary, from the three files where transformers keeps them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken

from gpt2edge.export.source_files import read_source_json

_LISTS: Final = ("additional_special_tokens", "extra_special_tokens")
_ROLES: Final = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_FLAGS: Final = ("lstrip", "rstrip", "single_word", "normalized")
_END_OF_TEXT: Final = "<|endoftext|>"


def added_tokens(source: Path, vocab: Mapping[str, int]) -> list[tuple[AddedToken, int | None]]:
    """The tokens that are never split, in the order of their ids; None is the next free one.

    A token is special where ``tokenizer_config.json`` or ``special_tokens_map.json`` says so; an
    entry of ``added_tokens.json`` alone does not. Raises ValueError for files of another form.
    """
    config = optional_json(source / "tokenizer_config.json")
    special = {
        token.content: token
        for keys in (config, optional_json(source / "special_tokens_map.json"))
        for token in _with_a_role(keys)
    }
    if _END_OF_TEXT in vocab:  # GPT-2's own, whether a file says so or not
        special.setdefault(_END_OF_TEXT, _token(_END_OF_TEXT, special=True))
    found: dict[str, tuple[AddedToken, int | None]] = {}
    for token_id, entry in (config.get("added_tokens_decoder") or {}).items():
        token = _token(entry, special=isinstance(entry, dict) and bool(entry.get("special")))
        found[token.content] = (token, int(token_id))
    for content, token_id in optional_json(source / "added_tokens.json").items():
        plain = _token(content, special=False)
        found.setdefault(content, (special.get(content, plain), int(token_id)))
    for content, token in special.items():
        found.setdefault(content, (token, vocab.get(content)))
    last = max(len(vocab), *(at for _, at in found.values() if at is not None), 0) + 1
    return sorted(found.values(), key=lambda item: last if item[1] is None else item[1])


def optional_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, empty where the file is absent."""
    return read_source_json(path) if path.is_file() else {}


def _with_a_role(keys: Mapping[str, Any]) -> Iterator[AddedToken]:
    """The tokens under ``pad_token`` and the like."""
    values = [keys.get(f"{role}_token") for role in _ROLES]
    for name in _LISTS:
        listed = keys.get(name) or []
        values += listed.values() if isinstance(listed, dict) else listed
    return (_token(value, special=True) for value in values if value is not None)


def _token(value: object, *, special: bool) -> AddedToken:
    """From a text, or from an object with ``content`` and flags."""
    fields = value if isinstance(value, dict) else {"content": value}
    content = fields.get("content")
    if not isinstance(content, str) or not content:
        raise ValueError(f"{str(value)[:40]!r} is not an added token")
    flags = {name: bool(fields[name]) for name in _FLAGS if name in fields}
    return AddedToken(content, special=special, **{"normalized": not special, **flags})
