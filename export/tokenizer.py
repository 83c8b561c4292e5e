"""One ``tokenizer.json``, whatever tokenizer files a checkpoint came with."""

import logging
import shutil
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from gpt2edge.errors import ExportError
from gpt2edge.export.source_files import read_source_json

_FILE: Final = "tokenizer.json"
_PAIRS: Final = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_END_OF_TEXT: Final = "<|endoftext|>"
_log = logging.getLogger("gpt2edge")


def write_tokenizer(source: Path, folder: Path, *, vocab_size: int) -> bool:
    """Write ``folder / "tokenizer.json"`` from the files in ``source``; False where none serve.

    A model without a tokenizer works on token ids, and a warning says so. Raises ExportError for
    unreadable files and for token ids that a model of ``vocab_size`` tokens does not have.
    """
    tokenizer = _load(source)
    if tokenizer is None:
        _log.warning("%s: %s; the model will work on token ids", source, _why_none(source))
        return False
    token, token_id = max(tokenizer.get_vocab().items(), key=lambda item: item[1], default=("", -1))
    if token_id >= vocab_size:
        raise ExportError(
            f"{source}: the tokenizer gives {token!r} the id {token_id}; "
            f"the model's vocab_size is {vocab_size}"
        )
    if (source / _FILE).is_file():
        shutil.copyfile(source / _FILE, folder / _FILE)
    else:
        tokenizer.save(str(folder / _FILE), pretty=False)
    return True


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
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    added = _added_tokens(source)
    end_of_text = tokenizer.token_to_id(_END_OF_TEXT)
    if end_of_text is not None:
        added[_END_OF_TEXT] = end_of_text
    for token, token_id in sorted(added.items(), key=lambda item: item[1]):
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        if tokenizer.token_to_id(token) != token_id:
            raise ExportError(
                f"{source / 'added_tokens.json'} gives {token!r} the id {token_id}; "
                f"the next free one is {tokenizer.token_to_id(token)}"
            )
    return tokenizer


def _added_tokens(source: Path) -> dict[str, int]:
    path = source / "added_tokens.json"
    if not path.is_file():
        return {}
    try:
        return {token: int(token_id) for token, token_id in read_source_json(path).items()}
    except (TypeError, ValueError) as error:
        raise ExportError(f"{path} does not map tokens to ids: {error}") from None


def _why_none(source: Path) -> str:
    if (source / "vocab.json").is_file():
        return "vocab.json without merges.txt is not byte-level BPE"
    return "no tokenizer files"
