"""Checkpoint folders that somebody made to hurt, or that an accident made: for ``export``."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.checkpoints import SMALL, random_tensors, save_tensors, write_checkpoint

BIAS: Final = "transformer.ln_f.bias"
Damage = Callable[[Path], None]


def _keys(**changes: Any) -> Damage:
    """A configuration with these keys."""

    def damage(folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps({**SMALL, **changes}))

    return damage


def _text(name: str, data: bytes) -> Damage:
    """A file with these bytes."""
    return lambda folder: _write(folder / name, data)


def _settings(data: bytes) -> Damage:
    """Generation settings of these bytes."""
    return _text("generation_config.json", data)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _header(change: Callable[[dict[str, Any]], None]) -> Damage:
    """A safetensors header changed in place, the tensors' bytes kept."""

    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return damage


def _entry(**changes: Any) -> Damage:
    """Other keys for one tensor's header entry."""
    return _header(lambda header: header[BIAS].update(changes))


def _length(length: int) -> Damage:
    """Another header length before the header."""

    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])

    return damage


def _values(value: float) -> Damage:
    """A tensor that holds this value."""

    def damage(folder: Path) -> None:
        tensors = random_tensors(SMALL)
        tensors["h.1.mlp.c_fc.weight"][5, 7] = value
        save_tensors(folder, tensors)

    return damage


def _dtype(dtype: Any) -> Damage:
    """A tensor of this dtype."""

    def damage(folder: Path) -> None:
        tensors = random_tensors(SMALL)
        tensors["wpe.weight"] = tensors["wpe.weight"].astype(dtype)
        save_tensors(folder, tensors)

    return damage


def _cut(keep: int) -> Damage:
    """Only the first bytes of the weights."""

    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:keep])

    return damage


def _index(weight_map: Any) -> Damage:
    """A shard index instead of one file."""

    def damage(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "shard.safetensors")
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return damage


def _pipe(name: str) -> Damage:
    """A named pipe that nobody writes to: reading it would wait for ever."""

    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return damage


def _link(name: str, target: str) -> Damage:
    """A symbolic link in the place of a file."""

    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return damage


def _vast(name: str, size: int) -> Damage:
    """A file of this size that takes no room on the disk."""

    def damage(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return damage


HOSTILE: Final[dict[str, Damage]] = {
    "no layers": _keys(n_layer=0),
    "a thousand million layers": _keys(n_layer=10**9),
    "more layers than weights": _keys(n_layer=10**7),
    "negative layers": _keys(n_layer=-1),
    "layers as text": _keys(n_layer="2"),
    "layers as a float": _keys(n_layer=2.5),
    "layers true": _keys(n_layer=True),
    "no heads": _keys(n_head=0),
    "more heads than width": _keys(n_head=64),
    "huge vocabulary": _keys(vocab_size=10**18),
    "no vocabulary": _keys(vocab_size=0),
    "another vocabulary": _keys(vocab_size=96),
    "huge context": _keys(n_positions=10**12),
    "no context": _keys(n_positions=0),
    "huge width": _keys(n_embd=2**24),
    "negative inner width": _keys(n_inner=-128),
    "epsilon nan": _keys(layer_norm_epsilon=np.nan),
    "epsilon infinite": _keys(layer_norm_epsilon=1e400),
    "epsilon as text": _keys(layer_norm_epsilon="small"),
    "activation with code": _keys(activation_function="__import__('os').system('false')"),
    "activation as a list": _keys(activation_function=["gelu"]),
    "architectures as a number": _keys(architectures=7),
    "architectures as an object": _keys(architectures={"a": 1}),
    "labels as a list": _keys(architectures=["GPT2ForSequenceClassification"], id2label=[1, 2]),
    "end token as an object": _keys(eos_token_id={"id": 1}),
    "end token beyond 64 bits": _keys(eos_token_id=2**70),
    "another model type": _keys(model_type="gpt2; rm -rf /"),
    "config not JSON": _text("config.json", b"{"),
    "config empty": _text("config.json", b""),
    "config not UTF-8": _text("config.json", b'{"n_layer": "\xff"}'),
    "config a list": _text("config.json", b"[1, 2]"),
    "config nested deeply": _text("config.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "config of a million digits": _text("config.json", b'{"n_layer":' + b"9" * 10**6 + b"}"),
    "config of many gigabytes": _vast("config.json", 1 << 36),
    "config a pipe": _pipe("config.json"),
    "config endless": _link("config.json", "/dev/zero"),
    "config a link to itself": _link("config.json", "config.json"),
    "weights a pipe": _pipe("model.safetensors"),
    "weights endless": _link("model.safetensors", "/dev/zero"),
    "weights a broken link": _link("model.safetensors", "absent"),
    "weights empty": _cut(0),
    "weights cut in the length": _cut(5),
    "weights cut in the header": _cut(60),
    "weights cut in a tensor": _cut(20_000),
    "weights many zeros": _vast("model.safetensors", 1 << 36),
    "header longer than the file": _length(10**9),
    "header length negative": _length(2**64 - 1),
    "header length zero": _length(0),
    "offsets beyond the end": _entry(data_offsets=[0, 10**12]),
    "offsets negative": _entry(data_offsets=[-8, 120]),
    "offsets reversed": _entry(data_offsets=[128, 0]),
    "offsets overlapping": _entry(data_offsets=[0, 128]),
    "offsets of one": _entry(data_offsets=[0]),
    "offsets as text": _entry(data_offsets=["0", "128"]),
    "shape vast": _entry(shape=[2**40, 2**40]),
    "shape negative": _entry(shape=[-32]),
    "shape with zero": _entry(shape=[0]),
    "shape nested": _entry(shape=[[32]]),
    "dtype unknown": _entry(dtype="F31"),
    "dtype absent": _header(lambda header: header[BIAS].pop("dtype")),
    "entry a number": _header(lambda header: header.update({BIAS: 5})),
    "two names of one tensor": _header(lambda header: header.update({"ln_f.bias": header[BIAS]})),
    "a name with a path": _header(lambda header: header.update({"../../x": header.pop(BIAS)})),
    "metadata as numbers": _header(lambda header: header.update({"__metadata__": {"a": 1}})),
    "weights nan": _values(np.nan),
    "weights infinite": _values(np.inf),
    "weights in doubles": _dtype(np.float64),
    "weights in whole numbers": _dtype(np.int32),
    "weights in booleans": _dtype(np.bool_),
    "shard outside": _index({"wte.weight": "../shard.safetensors"}),
    "shard absolute": _index({"wte.weight": "/etc/passwd"}),
    "shard absent": _index({"wte.weight": "other.safetensors"}),
    "shard a number": _index({"wte.weight": 3}),
    "shard map empty": _index({}),
    "shard map a list": _index(["shard.safetensors"]),
    "shard without the tensor": _index({"no.such": "shard.safetensors"}),
    "tokenizer not JSON": _text("tokenizer.json", b"{"),
    "tokenizer of another form": _text("tokenizer.json", b'{"model": {"type": "BPE"}}'),
    "tokenizer not UTF-8": _text("tokenizer.json", b"\xff\xfe"),
    "tokenizer nested deeply": _text("tokenizer.json", b"[" * 10**6),
    "tokenizer a pipe": _pipe("tokenizer.json"),
    "tokenizer endless": _link("tokenizer.json", "/dev/zero"),
    "generation settings not JSON": _settings(b"nonsense"),
    "generation settings out of range": _settings(b'{"do_sample": true, "temperature": -5}'),
    "generation settings as text": _settings(b'{"do_sample": true, "top_k": "many"}'),
    "generation settings nan": _settings(b'{"do_sample": true, "top_p": NaN}'),
    "generation settings huge": _settings(b'{"max_new_tokens": 1e300}'),
    "a pickle": _link("model.safetensors", "pytorch_model.bin"),
}  # fmt: skip
"""Each by what is wrong with it."""


def hostile_checkpoint(name: str, folder: Path) -> Path:
    """The checkpoint ``name`` of ``HOSTILE``."""
    write_checkpoint(folder, SMALL)
    HOSTILE[name](folder)
    return folder
