"""Added tokens: the tokens beside a vocabulary, from the four files of transformers that hold them.

Their order is that of transformers 5, because it decides the ids: a token that is in the vocabulary
keeps its id, and any other token gets the next free id, whatever id a file gives it. The tokens of
``tokenizer.json`` and of ``tokenizer_config.json``'s ``added_tokens_decoder`` (without one, of
``added_tokens.json``) come first, then tokens that only have a role, such as ``pad_token``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer

from gpt2edge.export.sources.json_files import read_source_json

CONFIG_FILE: Final = "tokenizer_config.json"
TOKENIZER_FILE: Final = "tokenizer.json"
_MAP_FILE: Final = "special_tokens_map.json"
_ADDED_FILE: Final = "added_tokens.json"
_DECODER: Final = "added_tokens_decoder"
_LISTS: Final = ("extra_special_tokens", "additional_special_tokens")
_ROLES: Final = (
    *("bos_token", "eos_token", "unk_token"),
    *("sep_token", "pad_token", "cls_token", "mask_token"),
)
_FLAGS: Final = ("lstrip", "rstrip", "single_word", "normalized")
_END_OF_TEXT: Final = "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class _Named:
    """A token that is never split, the file that names it, and the id in that file (-1: none)."""

    token: AddedToken
    file: str
    token_id: int = -1

    @property
    def content(self) -> str:
        return str(self.token.content)


def add_tokens(
    tokenizer: Tokenizer,
    own: Mapping[int, AddedToken],
    source: Path,
    *,
    is_gpt2: bool,
    vocab_size: int,
) -> list[str]:
    """Add to ``tokenizer`` its ``own`` tokens and the tokens named by the files in ``source``.

    ``own`` are the added tokens of ``tokenizer.json``, by id. ``is_gpt2`` is for transformers'
    class of that name, which rebuilds the tokenizer and adds ``<|endoftext|>``; that token is left
    out only if no file names it and a model of ``vocab_size`` has no row for it. Returns a note
    for each difference from a file. Raises ValueError for files of another form.
    """
    config, special_map = (optional_json(source / name) for name in (CONFIG_FILE, _MAP_FILE))
    has_decoder = config.get(_DECODER) is not None
    roles = _roles(config, {} if has_decoder else special_map, is_gpt2=is_gpt2)
    extras = _extras(config, {} if has_decoder else special_map)
    special = {named.content for named in (*roles, *extras)}
    beside = _decoder(config) if has_decoder else _added_json(source, special)
    files = [_Named(token, TOKENIZER_FILE, token_id) for token_id, token in own.items()]
    ordered = _in_order(files, beside, is_gpt2=is_gpt2)
    contents = {role.content for role in roles}
    for named in ordered:
        named.token.special = named.token.special or named.content in contents
    all_named = _first_of_each([*ordered, *roles, *extras])
    last = all_named[-1:]
    if last and not last[0].file and tokenizer.token_to_id(last[0].content) is None:
        known = {*tokenizer.get_vocab(), *(named.content for named in all_named)}
        all_named = all_named if len(known) <= vocab_size else all_named[:-1]
    tokenizer.add_tokens([named.token for named in all_named])
    notes = [*_other_ids(tokenizer, _first_of_each([*beside, *files]))]
    if has_decoder:
        notes += _unread(special_map, {named.content for named in all_named})
    if has_decoder and is_gpt2:
        notes += _only_own(files, beside)
    return notes


def optional_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; it is empty if the file is absent."""
    return read_source_json(path) if path.is_file() else {}


def _decoder(config: Mapping[str, Any]) -> list[_Named]:
    """Return the tokens of ``added_tokens_decoder``, by id."""
    entries = sorted((int(token_id), entry) for token_id, entry in config[_DECODER].items())
    return [_Named(_token(entry), CONFIG_FILE, token_id) for token_id, entry in entries]


def _added_json(source: Path, special: set[str]) -> list[_Named]:
    """Return the tokens of ``added_tokens.json``, by id; those with a role are special."""
    added = optional_json(source / _ADDED_FILE)
    entries = sorted((int(token_id), text) for text, token_id in added.items())
    return [
        _Named(_token(text, special=text in special), _ADDED_FILE, token_id)
        for token_id, text in entries
    ]


def _in_order(files: Sequence[_Named], beside: Sequence[_Named], *, is_gpt2: bool) -> list[_Named]:
    """Return each token once, in the order in which transformers adds them.

    The flags of ``added_tokens_decoder`` win; ``added_tokens.json`` has none, so that any other
    file wins over it.
    """
    stronger = {named.content: named for named in beside if named.file == CONFIG_FILE}
    if is_gpt2:
        weaker = [named for named in beside if named.file != CONFIG_FILE]
        merged = _first_of_each([*stronger.values(), *files, *weaker])
        return sorted(merged, key=lambda named: named.token_id)
    return _first_of_each([*(stronger.get(named.content, named) for named in files), *beside])


def _roles(
    config: Mapping[str, Any], special_map: Mapping[str, Any], *, is_gpt2: bool = False
) -> list[_Named]:
    """Return the tokens of roles such as ``pad_token``: those of all models, then the model's own.

    GPT-2's own three are ``<|endoftext|>`` where no file says another.
    """
    values = {name: (value, CONFIG_FILE) for name, value in config.items()}
    values |= {name: (value, _MAP_FILE) for name, value in special_map.items()}
    if is_gpt2:
        values = dict.fromkeys(_ROLES[:3], (_END_OF_TEXT, "")) | values
    others = [name for name in values if name.endswith("_token") and name not in _ROLES]
    role_values = [values[name] for name in _ROLES if name in values]
    role_values += [values[name] for name in others if isinstance(values[name][0], str | dict)]
    for listed, file in (values.get(name, (None, "")) for name in _LISTS):
        role_values += (
            [(value, file) for value in listed.values()] if isinstance(listed, dict) else []
        )
    return [
        _Named(_token(value, special=True), file)
        for value, file in role_values
        if value is not None
    ]


def _extras(config: Mapping[str, Any], special_map: Mapping[str, Any]) -> list[_Named]:
    """Return the tokens of the lists of special tokens; of two lists in a file, one counts."""
    extras: list[_Named] = []
    for file, keys in ((CONFIG_FILE, config), (_MAP_FILE, special_map)):
        extra, additional = (keys.get(name) or [] for name in _LISTS)
        listed = extra or ([] if extras else additional)
        if not isinstance(listed, dict):
            extras += [_Named(_token(value, special=True), file) for value in listed]
    return extras


def _first_of_each(named: Sequence[_Named]) -> list[_Named]:
    """Return the first token of each content."""
    first: dict[str, _Named] = {}
    for item in named:
        first.setdefault(item.content, item)
    return list(first.values())


def _other_ids(tokenizer: Tokenizer, wanted: Sequence[_Named]) -> Iterator[str]:
    for named in wanted:
        token_id = tokenizer.token_to_id(named.content)
        if token_id != named.token_id:
            yield (
                f"{named.file} gives {named.content!r} the id {named.token_id}; it is {token_id}, "
                "as in transformers, whose ids follow the vocabulary"
            )


def _unread(special_map: Mapping[str, Any], known: set[str]) -> Iterator[str]:
    for named in (*_roles({}, special_map), *_extras({}, special_map)):
        if named.content not in known:
            yield (
                f"{_MAP_FILE} names {named.content!r}, which is no token: transformers does not "
                f"read it beside {_DECODER} in {CONFIG_FILE}"
            )


def _only_own(files: Sequence[_Named], beside: Sequence[_Named]) -> Iterator[str]:
    known = {named.content for named in beside}
    for named in files:
        if named.content not in known:
            yield (
                f"{TOKENIZER_FILE} has the token {named.content!r}, which {CONFIG_FILE} does not "
                "list: it stays one, while transformers 5 would split it"
            )


def _token(value: object, *, special: bool = False) -> AddedToken:
    """Make a token from a text, or from an object with ``content`` and flags.

    The token is special if ``special`` or a flag of that name is true.
    """
    fields = value if isinstance(value, dict) else {"content": value}
    content = fields.get("content")
    if not isinstance(content, str) or not content:
        raise ValueError(f"{str(value)[:40]!r} is not an added token")
    flags = {name: bool(fields[name]) for name in _FLAGS if name in fields}
    special = special or bool(fields.get("special"))
    return AddedToken(content, special=special, **{"normalized": not special, **flags})
