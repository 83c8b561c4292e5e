"""One ``tokenizer.json``, whatever tokenizer files a checkpoint came with."""

import logging
import shutil
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from gpt2edge.errors import ExportError
from gpt2edge.export.added_tokens import added_tokens, optional_json
from gpt2edge.model_dir import write_json

_FILE: Final = "tokenizer.json"
_PAIRS: Final = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_CONFIG: Final = "tokenizer_config.json"
_UPSTREAM: Final = ("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
_log = logging.getLogger("gpt2edge")


def write_tokenizer(source: Path, folder: Path, *, vocab_size: int) -> bool:
    """Write ``folder / "tokenizer.json"`` from the files in ``source``; False where none serve.

    A model without a tokenizer works on token ids, and a warning says so. Another says which
    tokens a model of ``vocab_size`` does not have, such as a [PAD] that it was never resized for:
    the runtime refuses a text with one. Raises ExportError for unreadable files.
    """
    tokenizer = _load(source)
    if tokenizer is None:
        _log.warning("%s: %s; the model will work on token ids", source, _why_none(source))
        return False
    _warn_of_ids_beyond(tokenizer, source, vocab_size)
    if (source / _FILE).is_file():
        shutil.copyfile(source / _FILE, folder / _FILE)
    else:
        tokenizer.save(str(folder / _FILE), pretty=False)
    return True


def copy_tokenizer_files(source: Path, folder: Path, *, all_of_them: bool) -> None:
    """Give ``folder`` the ``tokenizer_config.json`` by which other engines know what they have.

    It is the source's own; without one, it says that a BPE tokenizer is GPT-2's. ``all_of_them``
    also copies the files from which transformers made ``tokenizer.json``.
    """
    for name in (_CONFIG, *(_UPSTREAM if all_of_them else ())):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    path = folder / _FILE
    if not path.is_file() or (folder / _CONFIG).is_file():
        return
    if isinstance(Tokenizer.from_file(str(path)).model, models.BPE):
        write_json(folder / _CONFIG, {"tokenizer_class": "GPT2Tokenizer"})


def _load(source: Path) -> Tokenizer | None:
    try:
        if (source / _FILE).is_file():
            return Tokenizer.from_file(str(source / _FILE))
        for vocab, merges in _PAIRS:
            if (source / vocab).is_file() and (source / merges).is_file():
                return _byte_level_bpe(source, source / vocab, source / merges)
    except ExportError:
        raise
    except Exception as error:  # what the tokenizers package raises has no narrower type
        raise ExportError(f"{source}: the tokenizer's files are not valid: {error}") from None
    return None


def _byte_level_bpe(source: Path, vocab: Path, merges: Path) -> Tokenizer:
    """GPT-2's tokenizer; ``<|endoftext|>`` and the added tokens are never split."""
    tokenizer = Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
    prefix = bool(optional_json(source / "tokenizer_config.json").get("add_prefix_space"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    for token, token_id in added_tokens(source, tokenizer.get_vocab()):
        add = tokenizer.add_special_tokens if token.special else tokenizer.add_tokens
        add([token])
        found = tokenizer.token_to_id(token.content)
        if token_id not in (None, found):
            raise ExportError(
                f"{source}: the tokenizer's files give {token.content!r} the id {token_id}; "
                f"the next free one is {found}"
            )
    return tokenizer


def _warn_of_ids_beyond(tokenizer: Tokenizer, source: Path, vocab_size: int) -> None:
    vocab = tokenizer.get_vocab().items()
    beyond = sorted((at, token) for token, at in vocab if at >= vocab_size)
    if beyond:
        at, token = beyond[0]
        _log.warning(
            "%s: the tokenizer gives %r the id %d%s; the model's vocab_size is %d: a text with "
            "this token will be refused",
            source,
            token,
            at,
            f" (and {len(beyond) - 1} more are beyond)" if len(beyond) > 1 else "",
            vocab_size,
        )


def _why_none(source: Path) -> str:
    if (source / "vocab.json").is_file():
        return "vocab.json without merges.txt is not byte-level BPE"
    return "no tokenizer files"
