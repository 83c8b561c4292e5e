"""write_tokenizer: write one ``tokenizer.json`` from any of the tokenizer files of a checkpoint."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Final, NamedTuple

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from gpt2edge._text import text_of
from gpt2edge.errors import ExportError
from gpt2edge.export.tokenizers.added_tokens import (
    CONFIG_FILE,
    TOKENIZER_FILE,
    add_tokens,
    optional_json,
)
from gpt2edge.export.tokenizers.tokenizer_class import GPT2_CLASS, class_of, follow_class
from gpt2edge.model_dir import write_json
from gpt2edge.runtime.text import tokenizer as runtime

_PAIRS: Final = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_END_OF_TEXT: Final = "<|endoftext|>"
_UPSTREAM: Final = ("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
_log = logging.getLogger("gpt2edge")


class _Built(NamedTuple):
    """A tokenizer, notes about it, and whether it equals its ``tokenizer.json``."""

    tokenizer: Tokenizer
    notes: list[str]
    is_unchanged: bool = False


def write_tokenizer(source: Path, folder: Path, *, vocab_size: int) -> bool:
    """Write ``folder / "tokenizer.json"`` from the files in ``source``; False if there are none.

    The settings of the files beside ``tokenizer.json`` are merged into it, so that its ids are
    those of transformers' ``AutoTokenizer``; where they differ, a warning names the token and the
    file. A model without a tokenizer works on token ids, with a warning. Another warning names
    tokens that a model of ``vocab_size`` does not have, such as a [PAD] added without resizing the
    model: the runtime refuses a text with one. Raises ExportError for unreadable files.
    """
    built = _build(source, vocab_size)
    if built is None:
        _log.warning("%s: %s; the model will work on token ids", source, _why_none(source))
        return False
    for note in built.notes:
        _log.warning("%s: %s", source, note)
    _warn_of_ids_beyond(built.tokenizer, source, vocab_size)
    _warn_of_ids_without_token(built.tokenizer, source, vocab_size)
    if built.is_unchanged:
        shutil.copyfile(source / TOKENIZER_FILE, folder / TOKENIZER_FILE)
    else:
        built.tokenizer.save(str(folder / TOKENIZER_FILE), pretty=False)
    _warn_of_an_end(folder / TOKENIZER_FILE, source)
    return True


def copy_tokenizer_files(source: Path, folder: Path, *, all_of_them: bool) -> None:
    """Copy ``tokenizer_config.json``, by which other engines choose the class of the tokenizer.

    Without one in ``source``, a BPE tokenizer gets one that names GPT-2's class. ``all_of_them``
    also copies the files from which transformers made ``tokenizer.json``.
    """
    for name in (CONFIG_FILE, *(_UPSTREAM if all_of_them else ())):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    path = folder / TOKENIZER_FILE
    if not path.is_file() or (folder / CONFIG_FILE).is_file():
        return
    if isinstance(Tokenizer.from_file(str(path)).model, models.BPE):
        write_json(folder / CONFIG_FILE, {"tokenizer_class": "GPT2Tokenizer"})


def _build(source: Path, vocab_size: int) -> _Built | None:
    try:
        if (source / TOKENIZER_FILE).is_file():
            return _merged(source, vocab_size)
        for vocab, merges in _PAIRS:
            if (source / vocab).is_file() and (source / merges).is_file():
                return _byte_level_bpe(source, vocab, merges, vocab_size)
    except ExportError:
        raise
    except Exception as error:  # the tokenizers package raises no narrower type
        raise ExportError(f"{source}: the tokenizer's files are not valid: {error}") from None
    return None


def _merged(source: Path, vocab_size: int) -> _Built:
    """Return ``tokenizer.json`` with the settings of the files beside it."""
    data = (source / TOKENIZER_FILE).read_bytes()
    text = text_of(data, TOKENIZER_FILE)
    original = Tokenizer.from_str(text)
    tokenizer = Tokenizer.from_str(json.dumps({**json.loads(text), "added_tokens": []}))
    is_gpt2 = class_of(source) == GPT2_CLASS
    notes = follow_class(tokenizer, source, is_gpt2=is_gpt2)
    added = original.get_added_tokens_decoder()
    notes += add_tokens(tokenizer, added, source, is_gpt2=is_gpt2, vocab_size=vocab_size)
    is_unchanged = data == text.encode() and tokenizer.to_str() == original.to_str()
    return _Built(tokenizer, notes, is_unchanged=is_unchanged)


def _byte_level_bpe(source: Path, vocab: str, merges: str, vocab_size: int) -> _Built:
    """Return GPT-2's tokenizer; ``<|endoftext|>`` and the added tokens are never split."""
    tokenizer = Tokenizer(models.BPE.from_file(str(source / vocab), str(source / merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    notes = follow_class(tokenizer, source, is_gpt2=True)
    notes += add_tokens(tokenizer, {}, source, is_gpt2=True, vocab_size=vocab_size)
    _add_template(tokenizer, optional_json(source / CONFIG_FILE))
    return _Built(tokenizer, notes)


def _add_template(tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    """Make a template with the tokens of ``config`` around a text; for no tokenizer.json only."""
    tokens = {}
    for role in ("bos", "eos"):
        value = config.get(f"{role}_token", _END_OF_TEXT)
        token = value.get("content") if isinstance(value, dict) else value
        token_id = tokenizer.token_to_id(token) if isinstance(token, str) else None
        if config.get(f"add_{role}_token") and token_id is not None:
            tokens[role] = (token, token_id)
    if tokens:
        before, after = ([tokens[role][0]] if role in tokens else [] for role in ("bos", "eos"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            pair=[*before, "$A", *after, *before, "$B:1", *after],
            special_tokens=sorted(set(tokens.values())),
        )


def _warn_of_an_end(path: Path, source: Path) -> None:
    """Warn that a prompt does not get the end token of a template."""
    written = runtime.Tokenizer(path)
    if written.end_ids:
        _log.warning(
            "%s: the tokenizer's template puts %r behind a text; prompts are encoded without it, "
            "so that the model continues them",
            source,
            "".join(map(written.piece, written.end_ids)),
        )


def _warn_of_ids_beyond(tokenizer: Tokenizer, source: Path, vocab_size: int) -> None:
    vocab = tokenizer.get_vocab().items()
    beyond = sorted((token_id, token) for token, token_id in vocab if token_id >= vocab_size)
    if beyond:
        token_id, token = beyond[0]
        _log.warning(
            "%s: the tokenizer gives %r the id %d%s; the model's vocab_size is %d: a text with "
            "this token will be refused",
            source,
            token,
            token_id,
            f" (and {len(beyond) - 1} more are beyond)" if len(beyond) > 1 else "",
            vocab_size,
        )


def _warn_of_ids_without_token(tokenizer: Tokenizer, source: Path, vocab_size: int) -> None:
    lost = sorted(set(range(vocab_size)) - set(tokenizer.get_vocab().values()))
    if lost:
        _log.warning(
            "%s: no token of the tokenizer has the id %d%s; the model's vocab_size is %d: text "
            "cannot show it, so it is never drawn",
            source,
            lost[0],
            f" (nor {len(lost) - 1} more)" if len(lost) > 1 else "",
            vocab_size,
        )


def _why_none(source: Path) -> str:
    if (source / "vocab.json").is_file():
        return "vocab.json without merges.txt is not byte-level BPE"
    return "no tokenizer files"
