"""Make ``tests/data/tokenizers``: small tokenizers of each kind, with the ids of their own library.

python -m tests.data.make_tokenizers          (needs sentencepiece, tiktoken and transformers)
"""

import base64
import json
import pickle
import shutil
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "tokenizers"
ENGLISH: Final = (
    "Once upon a time there was a wolf who lived in a dark wood. The wolf said to the king: give "
    "me bread.\nThe king's daughter gave the wolf a loaf of bread, and the wolf went home to the "
    "dark wood.\nHow many loaves are there? 1 2 3 4 5 6 7 8 9 10.\n"
)
CHINESE: Final = "这是很久之前的事情了,我曾经把这个当做一种思想的传承。Once upon a time 123 WOLF"
JAPANESE: Final = "生命、宇宙、そして万物についての究極の疑問の答えは42です。ABC　全角 スペース"
KOREAN: Final = "근육이 커지기 위해서는 무엇을 해야 하나요? Hello 1990"
BLANKS: Final = ("  two  spaces ", " one\ttab \n\n and lines", "")
UNSEEN: Final = "emoji 🦊 unseen \u00e9 e\u0301 ﬁ Ⅷ"
END: Final = "<|endoftext|>"
PATTERN: Final = (
    r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""  # GPT-2's
)
NFKC_PART: Final = {"　": " ", "Ａ": "A", "ﬁ": "fi", "Ⅷ": "VIII", "\t": " ", "\n": " "}  # noqa: RUF001


def folder(name: str) -> Path:
    """Make an empty folder for a tokenizer."""
    path = FOLDER / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def expect(
    path: Path,
    encode: Callable[[str], Sequence[int]],
    decode: Callable[[list[int]], str] | None,
    texts: Sequence[str],
) -> None:
    """Write ``expected.json``: texts, their ids, and the decoded ids (None: not compared)."""
    rows = []
    for text in texts:
        ids = list(map(int, encode(text)))
        rows.append({"text": text, "ids": ids, "decoded": decode(ids) if decode else None})
    (path / "expected.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n")


def word_pieces() -> None:
    """BERT's vocab.txt: characters of Chinese, WordPiece of the rest."""
    from transformers import BertTokenizer

    characters = sorted(set(CHINESE) - set(" Oncepatimew123WOLF"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    words += ["once", "up", "##on", "a", "time", "1", "##2", "##3", "12", "wolf", "o", "##l", "##f"]
    for name, lower in (("bert", True), ("bert-cased", False)):
        path = folder(name)
        (path / "vocab.txt").write_text("\n".join([*words, "O", "##nce", "##LF"]) + "\n")
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower}
        write_json(path / "tokenizer_config.json", config)
        own = BertTokenizer.from_pretrained(path)
        texts = (CHINESE, "这是 Éclair wolf", "Once upon a time [MASK] 12", UNSEEN, *BLANKS)
        encode = partial(own.encode, add_special_tokens=False)
        expect(path, encode, partial(own.decode, skip_special_tokens=True), texts)


def sentencepiece() -> None:
    """Unigram and BPE, with and without byte fallback, with a normalization of a few rules."""
    import sentencepiece as spm

    corpus, rules = FOLDER / "corpus.txt", FOLDER / "rules.tsv"
    corpus.write_text("\n".join([JAPANESE, KOREAN, ENGLISH, CHINESE] * 30))
    hexes = ((source, target) for source, target in NFKC_PART.items())
    lines = (f"{_points(source)}\t{_points(target)}\n" for source, target in hexes)
    rules.write_text("".join(lines))
    for kind in ("unigram", "bpe"):
        for fallback in (False, True):
            path = folder(f"{kind}-bytes" if fallback else kind)
            spm.SentencePieceTrainer.train(
                input=str(corpus),
                model_prefix=str(path / "spiece"),
                vocab_size=460 if fallback else 230,
                model_type=kind,
                byte_fallback=fallback,
                normalization_rule_tsv=str(rules),
                **{"bos_id": 1, "eos_id": 2, "unk_id": 0, "pad_id": 3, "pad_piece": "[PAD]"},
                user_defined_symbols=["[CLS]", "[SEP]", "[MASK]"],
                character_coverage=1.0,
                hard_vocab_limit=False,
                minloglevel=2,
            )
            (path / "spiece.vocab").unlink()
            own = spm.SentencePieceProcessor(model_file=str(path / "spiece.model"))
            texts = (JAPANESE, KOREAN, ENGLISH, CHINESE, "a [SEP]b", *BLANKS)
            expect(path, own.encode, own.decode, texts)
            rows = json.loads((path / "expected.json").read_text())
            rows.append({"text": UNSEEN, "ids": own.encode(UNSEEN), "decoded": None})
            (path / "expected.json").write_text(
                json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
            )
    corpus.unlink()
    rules.unlink()


def _points(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)


def words() -> None:
    """GPT-1's vocab.json and merges.txt."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import OpenAIGPTTokenizer

    base = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    base.normalizer = normalizers.BertNormalizer(lowercase=True)
    base.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=180,
        special_tokens=["<unk>"],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    base.train_from_iterator([ENGLISH.lower()] * 4, trainer)
    path = folder("words")
    base.model.save(str(path))
    own = OpenAIGPTTokenizer.from_pretrained(path)
    texts = ("The Wolf said: How many loaves?", ENGLISH, "Él wolf's", UNSEEN, *BLANKS)
    expect(path, own.encode, lambda ids: str(own.decode(ids, skip_special_tokens=True)), texts)


def ranks() -> None:
    """``.tiktoken`` and llm.c's ``gpt2_tokenizer.bin``, of the tokenizer of ``tests/data/tiny``."""
    import tiktoken

    from gpt2edge.runtime.text.tokenizer import BYTE_OF

    vocab = json.loads((FOLDER.parent / "tiny" / "tokenizer.json").read_text())["model"]["vocab"]
    tokens = {
        bytes(BYTE_OF[c] for c in token): rank for token, rank in vocab.items() if token != END
    }
    own = tiktoken.Encoding(
        "tiny", pat_str=PATTERN, mergeable_ranks=tokens, special_tokens={END: len(tokens)}
    )
    texts = (ENGLISH, f"héllo 🦊 wolf{END}The king", UNSEEN, CHINESE, *BLANKS)
    path = folder("tiktoken")
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in tokens.items())
    (path / "tiny.tiktoken").write_text("".join(lines))
    expect(path, lambda text: own.encode(text, allowed_special="all"), own.decode, texts)
    path = folder("llmc")
    ordered = sorted(tokens, key=tokens.__getitem__)
    header = struct.pack("<4I", 20240328, 2, len(tokens) + 1, len(tokens)).ljust(1024, b"\0")
    body = b"".join(bytes([len(token)]) + token for token in [*ordered, END.encode()])
    (path / "gpt2_tokenizer.bin").write_bytes(header + body)
    expect(path, lambda text: own.encode(text, allowed_special="all"), own.decode, texts)


def characters() -> None:
    """NanoGPT's meta.pkl, and a vocab.json of characters."""
    alphabet = sorted(set(ENGLISH + "é🦊"))
    stoi = {character: index for index, character in enumerate(alphabet)}
    texts = (ENGLISH, "wolf 🦊é\n", *(text for text in BLANKS if "\t" not in text))
    for name in ("meta-pkl", "characters"):
        path = folder(name)
        meta = {"vocab_size": len(alphabet), "itos": dict(enumerate(alphabet)), "stoi": stoi}
        if name == "meta-pkl":
            (path / "meta.pkl").write_bytes(pickle.dumps(meta))
        else:
            write_json(path / "vocab.json", stoi)
        expect(
            path,
            lambda text: [stoi[character] for character in text],
            lambda ids: "".join(alphabet[token_id] for token_id in ids),
            texts,
        )


def main() -> None:
    """Write the folder anew."""
    for make in (word_pieces, words, ranks, characters, sentencepiece):
        make()


if __name__ == "__main__":
    main()
