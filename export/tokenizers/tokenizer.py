"""write_tokenizer: write one ``tokenizer.json`` from any of the tokenizer files of a checkpoint."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any, Final, NamedTuple

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from gpt2edge._text import text_of
from gpt2edge.errors import ExportError
from gpt2edge.export.sources.json_files import read_source_json
from gpt2edge.export.tokenizers import characters, ranks
from gpt2edge.export.tokenizers.added_tokens import (
    CONFIG_FILE,
    TOKENIZER_FILE,
    add_tokens,
    optional_json,
)
from gpt2edge.export.tokenizers.kinds import Kind, TokenizerFile, find_tokenizer, why_none
from gpt2edge.export.tokenizers.options import TokenizerOptions
from gpt2edge.export.tokenizers.sentencepiece import sentencepiece
from gpt2edge.export.tokenizers.tokenizer_class import GPT2_CLASS, class_of, follow_class
from gpt2edge.export.tokenizers.word_bpe import word_bpe
from gpt2edge.export.tokenizers.word_pieces import word_pieces
from gpt2edge.model_dir import write_json
from gpt2edge.runtime.text import tokenizer as runtime

_END_OF_TEXT: Final = "<|endoftext|>"
_UPSTREAM: Final = ("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
_log = logging.getLogger("gpt2edge")


class _Built(NamedTuple):
    """A tokenizer, notes about it, and whether it equals its ``tokenizer.json``."""

    tokenizer: Tokenizer
    notes: list[str]
    is_unchanged: bool = False


def write_tokenizer(
    place: Path, folder: Path, *, vocab_size: int, options: TokenizerOptions | None = None
) -> bool:
    """Write ``folder / "tokenizer.json"`` from the files at ``place``; False if there are none.

    ``place`` is a folder, or one file of a tokenizer in it; ``options`` says what its files do not.
    The settings of the files beside ``tokenizer.json`` are merged into it, so that its ids are
    those of transformers' ``AutoTokenizer``; where they differ, a warning names the token and the
    file. A model without a tokenizer works on token ids, with a warning. Another warning names
    tokens that a model of ``vocab_size`` does not have, such as a [PAD] added without resizing the
    model: the runtime refuses a text with one. Raises ExportError for unreadable files.
    """
    options = options or TokenizerOptions()
    found = find_tokenizer(place)
    if found is None or (found.kind is Kind.TIKTOKEN and options.pattern is None):
        _log.warning("%s: %s; the model will work on token ids", place, why_none(place))
        return False
    built = _build(found, folder, vocab_size, options)
    for note in built.notes:
        _log.warning("%s: %s", place, note)
    _warn_of_ids_beyond(built.tokenizer, place, vocab_size)
    _warn_of_ids_without_token(built.tokenizer, place, vocab_size)
    if built.is_unchanged:
        shutil.copyfile(found.path, folder / TOKENIZER_FILE)
    else:
        built.tokenizer.save(str(folder / TOKENIZER_FILE), pretty=False)
    _warn_of_an_end(folder / TOKENIZER_FILE, place)
    return True


def copy_tokenizer_files(source: Path, folder: Path, *, all_of_them: bool) -> None:
    """Copy ``tokenizer_config.json``, by which other engines choose the class of the tokenizer.

    Without one in ``source``, a byte-level BPE tokenizer gets one that names GPT-2's class.
    ``all_of_them`` also copies the files from which transformers made ``tokenizer.json``.
    """
    source = source if source.is_dir() else source.parent
    for name in (CONFIG_FILE, *(_UPSTREAM if all_of_them else ())):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    path = folder / TOKENIZER_FILE
    if not path.is_file() or (folder / CONFIG_FILE).is_file():
        return
    tokenizer = Tokenizer.from_file(str(path))
    if isinstance(tokenizer.model, models.BPE) and not tokenizer.model.end_of_word_suffix:
        write_json(folder / CONFIG_FILE, {"tokenizer_class": "GPT2Tokenizer"})


def _build(found: TokenizerFile, out: Path, vocab_size: int, options: TokenizerOptions) -> _Built:
    """Build the tokenizer of the ``found`` file; ``out`` holds the model's config.json."""
    try:
        built = _of_kind(found, out, vocab_size, options)
        if options.lowercase and found.kind is not Kind.WORD_PIECES:
            _lower(built.tokenizer)
            return _Built(built.tokenizer, built.notes)
        return built
    except ExportError:
        raise
    except Exception as error:  # the tokenizers package raises no narrower type
        raise ExportError(f"{found.folder}: the tokenizer's files are not valid: {error}") from None


def _of_kind(found: TokenizerFile, out: Path, vocab_size: int, options: TokenizerOptions) -> _Built:
    if found.kind is Kind.WHOLE:
        return _merged(found.path, vocab_size)
    if found.kind is Kind.BYTE_LEVEL:
        assert found.merges is not None
        return _byte_level_bpe(found.path, found.merges, vocab_size)
    if found.kind in (Kind.LLMC, Kind.TIKTOKEN):
        return _ranked(found, out, vocab_size)
    config = optional_json(found.folder / CONFIG_FILE)
    if found.kind is Kind.WORD_BPE:
        assert found.merges is not None
        tokenizer = word_bpe(found.path, found.merges)
    elif found.kind is Kind.WORD_PIECES:
        tokenizer = word_pieces(found.path, config, lowercase=options.lowercase)
    elif found.kind is Kind.SENTENCEPIECE:
        tokenizer = sentencepiece(found.path)
        if options.lowercase is None and config.get("do_lower_case"):
            _lower(tokenizer)
    else:
        tokenizer = characters.characters(_characters(found))
    notes = add_tokens(tokenizer, {}, found.folder, is_gpt2=False, vocab_size=vocab_size)
    return _Built(tokenizer, notes)


def _characters(found: TokenizerFile) -> dict[Any, Any]:
    """Return the characters and their ids: ``stoi`` of a ``meta.pkl``, or a JSON object."""
    if found.kind is not Kind.META_PKL:
        return read_source_json(found.path)
    from gpt2edge.export.sources.pickled import read_plain

    meta = read_plain(found.path)
    stoi = meta.get("stoi") if isinstance(meta, dict) else None
    if not isinstance(stoi, dict):
        raise ValueError(f"{found.path.name} has no 'stoi', the ids of characters")
    return stoi


def _ranked(found: TokenizerFile, out: Path, vocab_size: int) -> _Built:
    """Return the tokenizer of a file of ranked tokens, with a note on what it does not hold."""
    if found.kind is Kind.LLMC:
        return _Built(ranks.byte_level(ranks.read_llmc(found.path)), [])
    end = optional_json(out / "config.json").get("eos_token_id")
    end = end if isinstance(end, int) and 0 <= end < vocab_size else None
    read = ranks.read_tiktoken(found.path, end=end, vocab_size=vocab_size)
    notes = [
        f"{found.path.name} holds no special tokens: {_END_OF_TEXT!r} gets the id {read.end}"
        if read.end is not None
        else f"{found.path.name} holds no special tokens, and none is added"
    ]
    return _Built(ranks.byte_level(read), notes)


def _lower(tokenizer: Tokenizer) -> None:
    """Turn every text into lower case before anything else."""
    before = [tokenizer.normalizer] if tokenizer.normalizer else []
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *before])


def _merged(path: Path, vocab_size: int) -> _Built:
    """Return ``tokenizer.json`` with the settings of the files beside it."""
    source, data = path.parent, path.read_bytes()
    text = text_of(data, path.name)
    original = Tokenizer.from_str(text)
    tokenizer = Tokenizer.from_str(json.dumps({**json.loads(text), "added_tokens": []}))
    is_gpt2 = class_of(source) == GPT2_CLASS
    notes = follow_class(tokenizer, source, is_gpt2=is_gpt2)
    added = original.get_added_tokens_decoder()
    notes += add_tokens(tokenizer, added, source, is_gpt2=is_gpt2, vocab_size=vocab_size)
    is_unchanged = data == text.encode() and tokenizer.to_str() == original.to_str()
    return _Built(tokenizer, notes, is_unchanged=is_unchanged)


def _byte_level_bpe(vocab: Path, merges: Path, vocab_size: int) -> _Built:
    """Return GPT-2's tokenizer; ``<|endoftext|>`` and the added tokens are never split."""
    source, model = vocab.parent, models.BPE.from_file(str(vocab), str(merges))
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - tokenizer.get_vocab().keys()
    notes = follow_class(tokenizer, source, is_gpt2=True)
    if missing:
        notes.append(
            f"{vocab.name} lacks {len(missing)} of the 256 bytes of byte-level BPE: the model does "
            "not read texts with them as they are given"
        )
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
