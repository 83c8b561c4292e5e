"""What the fuzzers feed: each takes bytes, and anything it raises is a finding."""

import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from gpt2edge.config import ModelConfig
from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.export import export_checkpoint
from gpt2edge.export.sources.checkpoint import Checkpoint
from gpt2edge.export.sources.pickled import read_plain
from gpt2edge.export.tokenizers.options import TokenizerOptions
from gpt2edge.export.tokenizers.tokenizer import write_tokenizer
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.decoding.defaults import GenerationDefaults
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.sampling.params import SamplingParams
from gpt2edge.runtime.text.tokenizer import Tokenizer
from tests.checkpoints import SMALL, random_tensors, write_checkpoint
from tests.forms import folders
from tests.forms.torch_writer import Pickled, write_legacy, write_zip
from tests.hostile.torch_files import archive

Target = Callable[[bytes], None]
TINY: Final = Path(__file__).resolve().parents[1] / "data" / "tiny"
KINDS: Final = TINY.parent / "tokenizers"
RELATIVES: Final = TINY.parent / "relatives"
WITH_VOCABULARY: Final = ("characters", "words")
SAMPLING: Final = {field.name for field in fields(SamplingParams)}
EXPECTED: Final = (Gpt2EdgeError, ValueError)
"""What bad input may raise; an error of another kind is a bug."""


@cache
def _workplace() -> Path:
    """A folder for the life of the process, with a good checkpoint and a good model."""
    folder = Path(tempfile.mkdtemp(prefix="gpt2edge-fuzz-"))
    write_checkpoint(folder / "checkpoint", SMALL)
    export_checkpoint(TINY, folder / "model")
    return folder


@contextmanager
def _replaced(path: Path, data: bytes) -> Iterator[None]:
    """A good file with other bytes, for the length of the block."""
    good = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(good)


def _read_checkpoint(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    for name in checkpoint.parameter_names:
        checkpoint.tensor(name)


def safetensors(data: bytes) -> None:
    """Bytes in the place of the weights."""
    folder = _workplace() / "checkpoint"
    with _replaced(folder / "model.safetensors", data), suppress(*EXPECTED):
        _read_checkpoint(folder)


def safetensors_header(data: bytes) -> None:
    """A header before good weights."""
    good = (_workplace() / "checkpoint" / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", good[:8])
    safetensors(struct.pack("<Q", len(data)) + data + good[8 + length :])


@cache
def _source(form: str) -> Path:
    """A good folder of a form, made once."""
    folder = _workplace() / form
    folder.mkdir()
    folders.FORMS[form].write(folder, random_tensors(SMALL))
    return folder


def _fed(form: str, name: str) -> Target:
    """Bytes in the place of one file of a form."""

    def feed(data: bytes) -> None:
        folder = _source(form)
        with _replaced(folder / name, data), suppress(*EXPECTED):
            _read_checkpoint(folder)

    return feed


def torch_zip(data: bytes) -> None:
    """A file of torch.save."""
    _fed("zip", "pytorch_model.bin")(data)


def torch_stream(data: bytes) -> None:
    """A file of torch.save before torch 1.6."""
    _fed("stream", "pytorch_model.bin")(data)


def torch_pickle(data: bytes) -> None:
    """Instructions in a good archive."""
    storages = {str(number): bytes(4 * count) for number, count in enumerate(_STORAGES)}
    torch_zip(archive(data, storages))


def plain_pickle(data: bytes) -> None:
    """A meta.pkl."""
    path = _workplace() / "meta.pkl"
    path.write_bytes(data)
    with suppress(*EXPECTED):
        read_plain(path)


def nanogpt(data: bytes) -> None:
    """A ckpt.pt."""
    _fed("nanoGPT", "ckpt.pt")(data)


def llmc(data: bytes) -> None:
    """A model of llm.c."""
    _fed("llm.c, float32", "model.bin")(data)


def tensorflow_index(data: bytes) -> None:
    """The index of a TensorFlow checkpoint."""
    _fed("OpenAI", "model.ckpt.index")(data)


def gguf(data: bytes) -> None:
    """A GGUF file."""
    _fed("GGUF, Q8_0", "model.gguf")(data)


def adapter_config(data: bytes) -> None:
    """Settings of a LoRA adapter."""
    _fed("LoRA", "adapter_config.json")(data)


def adapter(data: bytes) -> None:
    """Tensors of a LoRA adapter."""
    _fed("LoRA", "adapter_model.safetensors")(data)


def config(data: bytes) -> None:
    """A config.json: of a checkpoint, and by itself."""
    folder = _workplace() / "checkpoint"
    with _replaced(folder / "config.json", data), suppress(*EXPECTED):
        _read_checkpoint(folder)
    with suppress(*EXPECTED, RecursionError):
        keys = json.loads(data)
        if isinstance(keys, dict):
            ModelConfig.from_dict(keys)


def manifest(data: bytes) -> None:
    """A manifest.json."""
    folder = _workplace() / "model"
    with _replaced(folder / "manifest.json", data), suppress(*EXPECTED):
        model = ModelDir.open(folder)
        model.damaged_files()


def generation_config(data: bytes) -> None:
    """A generation_config.json."""
    with suppress(*EXPECTED, RecursionError):
        keys = json.loads(data)
        if isinstance(keys, dict):
            GenerationDefaults.from_dict(keys, _engine().config)


def tokenizer(data: bytes) -> None:
    """A tokenizer.json, which then has to encode and decode."""
    path = _workplace() / "tokenizer.json"
    path.write_bytes(data)
    with suppress(*EXPECTED):
        loaded = Tokenizer(path)
        loaded.decode(loaded.encode("Once upon a time"))


def _tokenizer_file(kind: str, name: str, data: bytes) -> None:
    """Bytes in the place of a tokenizer's file, which then has to encode and decode."""
    folder = _workplace() / kind
    if not folder.exists():
        shutil.copytree(KINDS / kind, folder)
    out = _workplace() / "written"
    out.mkdir(exist_ok=True)
    with _replaced(folder / name, data), suppress(*EXPECTED):
        about = TokenizerOptions(pattern="gpt2")
        if write_tokenizer(folder, out, vocab_size=500, options=about):
            loaded = Tokenizer(out / "tokenizer.json")
            loaded.decode(loaded.encode("Once upon a time"))


def word_pieces(data: bytes) -> None:
    """A vocab.txt of BERT's kind."""
    _tokenizer_file("bert", "vocab.txt", data)


def sentencepiece(data: bytes) -> None:
    """A spiece.model."""
    _tokenizer_file("unigram", "spiece.model", data)


def sentencepiece_bpe(data: bytes) -> None:
    """A spiece.model of BPE with bytes for what is unknown."""
    _tokenizer_file("bpe-bytes", "spiece.model", data)


def tiktoken(data: bytes) -> None:
    """A file of ranks."""
    _tokenizer_file("tiktoken", "tiny.tiktoken", data)


def llmc_tokenizer(data: bytes) -> None:
    """A gpt2_tokenizer.bin of llm.c."""
    _tokenizer_file("llmc", "gpt2_tokenizer.bin", data)


def vocabulary(data: bytes) -> None:
    """A vocab.json, of words or of characters."""
    _tokenizer_file("words", "vocab.json", data)
    _tokenizer_file("characters", "vocab.json", data)


def relative(data: bytes) -> None:
    """A config.json beside the tensors of GPT-2's relatives."""
    for name in ("gpt_neo", "opt", "gpt_bigcode"):
        folder = _workplace() / name
        if not folder.exists():
            shutil.copytree(RELATIVES / name, folder)
        with _replaced(folder / "config.json", data), suppress(*EXPECTED):
            _read_checkpoint(folder)


def graph(data: bytes) -> None:
    """A model.onnx before good weights."""
    source, folder = _workplace() / "model", _workplace() / "graph"
    if not folder.exists():
        shutil.copytree(source, folder)
    with _replaced(folder / "model.onnx", data), suppress(*EXPECTED):
        keys = json.loads((folder / "manifest.json").read_text())
        keys["files"]["model.onnx"]["bytes"] = len(data)
        (folder / "manifest.json").write_text(json.dumps(keys))
        Engine(folder).generate("Once", max_new_tokens=2)


@cache
def _engine() -> Engine:
    return Engine(_workplace() / "model")


def prompt(data: bytes) -> None:
    """A text that is encoded, decoded and continued."""
    engine = _engine()
    text = data.decode("utf-8", "surrogateescape")
    with suppress(*EXPECTED):
        assert engine.tokenizer is not None
        token_ids = engine.tokenizer.encode(text)
        if not set(token_ids) & engine.tokenizer.special_ids:
            assert engine.tokenizer.decode(token_ids) == text
        completion = engine.generate(text[:200], max_new_tokens=2)
        assert len(completion.token_ids) <= 2


def options(data: bytes) -> None:
    """Sampling and stopping, as JSON keys of any kind."""
    with suppress(*EXPECTED, RecursionError):
        keys: Any = json.loads(data)
        if not isinstance(keys, dict):
            return
        stop, limit = keys.pop("stop", None), keys.pop("max_new_tokens", None)
        if limit is None or (isinstance(limit, int | float) and limit > 3):
            limit = 3  # the default is lawful, and long
        if keys.keys() - SAMPLING:
            return  # an unknown name is Python's own TypeError
        _engine().generate("Once", sampling=SamplingParams(**keys), stop=stop, max_new_tokens=limit)


TARGETS: Final[dict[str, Target]] = {
    target.__name__: target
    for target in (
        safetensors,
        safetensors_header,
        torch_zip,
        torch_stream,
        torch_pickle,
        plain_pickle,
        nanogpt,
        llmc,
        tensorflow_index,
        gguf,
        adapter_config,
        adapter,
        config,
        manifest,
        generation_config,
        tokenizer,
        word_pieces,
        sentencepiece,
        sentencepiece_bpe,
        tiktoken,
        llmc_tokenizer,
        vocabulary,
        relative,
        graph,
        prompt,
        options,
    )
}


_STORAGES: Final = (320, 96)
"""Counts of the numbers in a small archive's storages."""


@cache
def _of_forms() -> dict[str, list[bytes]]:
    """Good inputs of the targets that read a form, small ones where the form has no fixed size."""
    folder = _workplace()
    small = {"transformer.wte.weight": np.zeros((10, 32), "f4"), "b": np.zeros(96, "f4")}
    value = {"model": small, "step": 1, "best": 1.5, "none": None, "on": True, "n": [1, 2]}
    write_zip(folder / "small.bin", value)
    write_legacy(folder / "small.pkl", value)
    letters = {"stoi": {"a": 0, "b": 1}, "itos": {0: "a", 1: "b"}, "vocab_size": 2}
    files = {
        "nanogpt": ("nanoGPT", "ckpt.pt"),
        "llmc": ("llm.c, float32", "model.bin"),
        "tensorflow_index": ("OpenAI", "model.ckpt.index"),
        "gguf": ("GGUF, Q8_0", "model.gguf"),
        "adapter_config": ("LoRA", "adapter_config.json"),
        "adapter": ("LoRA", "adapter_model.safetensors"),
    }
    return {
        "torch_zip": [
            (_source("zip") / "pytorch_model.bin").read_bytes(),
            (folder / "small.bin").read_bytes(),
        ],
        "torch_stream": [
            (_source("stream") / "pytorch_model.bin").read_bytes(),
            (folder / "small.pkl").read_bytes(),
        ],
        "torch_pickle": [Pickled(legacy=False).program(value)],
        "plain_pickle": [Pickled(legacy=False).program(letters)],
        **{name: [(_source(form) / file).read_bytes()] for name, (form, file) in files.items()},
    }


def seeds(name: str) -> list[bytes]:
    """Good inputs of a target, from which a fuzzer starts."""
    checkpoint, model = _workplace() / "checkpoint", _workplace() / "model"
    weights = (checkpoint / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", weights[:8])
    sampling = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.1, "seed": 3}
    return {
        "safetensors": [weights],
        "safetensors_header": [weights[8 : 8 + length]],
        **_of_forms(),
        "config": [(checkpoint / "config.json").read_bytes()],
        "manifest": [(model / "manifest.json").read_bytes()],
        "generation_config": [b'{"do_sample": true, "temperature": 0.8, "eos_token_id": [1]}'],
        "tokenizer": [(model / "tokenizer.json").read_bytes()],
        "word_pieces": [(KINDS / "bert" / "vocab.txt").read_bytes()],
        "sentencepiece": [(KINDS / "unigram" / "spiece.model").read_bytes()],
        "sentencepiece_bpe": [(KINDS / "bpe-bytes" / "spiece.model").read_bytes()],
        "tiktoken": [(KINDS / "tiktoken" / "tiny.tiktoken").read_bytes()],
        "llmc_tokenizer": [(KINDS / "llmc" / "gpt2_tokenizer.bin").read_bytes()],
        "vocabulary": [(KINDS / kind / "vocab.json").read_bytes() for kind in WITH_VOCABULARY],
        "relative": [
            (RELATIVES / name / "config.json").read_bytes()
            for name in ("opt", "gpt_bigcode", "gpt_neo")
        ],
        "graph": [(model / "model.onnx").read_bytes()],
        "prompt": [b"Once upon a time", "½ naïve <|endoftext|> 漢字 🎈".encode()],
        "options": [json.dumps({**sampling, "stop": ["\n"], "max_new_tokens": 2}).encode()],
    }[name]
