"""Model folders that somebody made to hurt, or that an accident made: for the runtime."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import ModelProto, TensorProto, helper

from gpt2edge.checksums import sha256
from gpt2edge.model_dir import FileRecord, ModelDir

Damage = Callable[[Path], None]


def reseal(folder: Path) -> None:
    """Write sizes and checksums anew, as somebody would who wants the folder to be trusted."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        file = folder / name
        record = FileRecord(bytes=file.stat().st_size, sha256=sha256(file))
        manifest["files"][name] = {"bytes": record.bytes, "sha256": record.sha256}
    path.write_text(json.dumps(manifest))


def _manifest(change: Callable[[dict[str, Any]], Any]) -> Damage:
    """A manifest changed in place."""

    def damage(folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return damage


def _listed(name: str, record: dict[str, Any] | None = None) -> Damage:
    """A manifest that names another file."""
    return _manifest(
        lambda keys: keys["files"].update({name: record or dict(keys["files"]["config.json"])})
    )


def _file(name: str, data: bytes) -> Damage:
    """A file with these bytes, and a manifest that agrees."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(data)
        if name != "manifest.json":
            reseal(folder)

    return damage


def _flip(name: str) -> Damage:
    """One bit of the file's last byte but one turned over."""

    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[-2] ^= 1
        (folder / name).write_bytes(data)

    return damage


def _cut(name: str) -> Damage:
    """The file without its second half."""

    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return damage


def _graph(change: Callable[[ModelProto], Any]) -> Damage:
    """A graph changed in place, and a manifest that agrees."""

    def damage(folder: Path) -> None:
        path = folder / "model.onnx"
        model = onnx.load(path, load_external_data=False)
        change(model)
        path.write_bytes(model.SerializeToString())
        reseal(folder)

    return damage


def _external(**entries: str) -> Damage:
    """Other external-data entries for every stored weight."""

    def change(model: ModelProto) -> None:
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                entry.value = entries.get(entry.key, entry.value)

    return _graph(change)


def _config(**changes: Any) -> Damage:
    """Other keys in config.json, and a manifest that agrees."""

    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        reseal(folder)

    return damage


def _link(name: str, target: str) -> Damage:
    """A symbolic link to what lies outside the folder, in the place of a file of the same size."""

    def damage(folder: Path) -> None:
        outside = folder.parent / "outside"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(target or outside)

    return damage


def _pipe(name: str) -> Damage:
    """A named pipe that nobody writes to."""

    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


def _dims(name: str, *dims: int) -> Callable[[ModelProto], None]:
    """Another shape for one of the graph's inputs or outputs."""

    def change(model: ModelProto) -> None:
        for value in [*model.graph.input, *model.graph.output]:
            if value.name == name:
                for dim, size in zip(value.type.tensor_type.shape.dim, dims, strict=True):
                    dim.dim_value = size

    return change


def _caches(head_dim: int) -> Callable[[ModelProto], None]:
    """Caches of another width."""

    def change(model: ModelProto) -> None:
        for value in [*model.graph.input, *model.graph.output]:
            if value.name.startswith(("past_key_values", "present")):
                value.type.tensor_type.shape.dim[3].dim_value = head_dim

    return change


def _without_inputs(model: ModelProto) -> None:
    kept = [value for value in model.graph.input if not value.name.startswith("past")]
    del model.graph.input[:]
    model.graph.input.extend(kept)


def _no_logits(model: ModelProto) -> None:
    kept = [value for value in model.graph.output if value.name != "logits"]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def _unknown_operator(model: ModelProto) -> None:
    model.graph.node[0].op_type = "Sytsem"
    model.graph.node[0].domain = "nobody"


def _cyclic_function(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("loop", 1))
    call = helper.make_node("Again", ["x"], ["y"], domain="loop")
    model.functions.append(
        helper.make_function(
            "loop", "Again", ["x"], ["y"], [call], [helper.make_opsetid("loop", 1)]
        )
    )
    model.graph.node.append(helper.make_node("Again", ["input_ids"], ["z"], domain="loop"))


def _vast_tensor(model: ModelProto) -> None:
    tensor = TensorProto(name="vast", data_type=TensorProto.FLOAT, dims=[2**40])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "model.onnx_data", "offset": "0", "length": str(2**42)}.items():
        tensor.external_data.add(key=key, value=value)
    model.graph.initializer.append(tensor)


HOSTILE: Final[dict[str, Damage]] = {
    "manifest not JSON": _file("manifest.json", b"{"),
    "manifest a list": _file("manifest.json", b"[]"),
    "manifest empty": _file("manifest.json", b"{}"),
    "manifest of the future": _manifest(lambda keys: keys.update(format_version=99)),
    "manifest with a path": _listed("../x"),
    "manifest with an absolute path": _listed("/etc/passwd"),
    "manifest with a null byte": _listed("a\0b"),
    "manifest names the parent": _listed(".."),
    "manifest without files": _manifest(lambda k: k.update(files={})),
    "manifest files a list": _manifest(lambda k: k.update(files=["model.onnx"])),
    "manifest record of another form": _listed("model.onnx", {"size": 1}),
    "manifest bytes as text": _manifest(lambda k: k["files"]["model.onnx"].update(bytes="many")),
    "manifest checksum a number": _manifest(lambda k: k["files"]["model.onnx"].update(sha256=7)),
    "manifest recipe as text": _manifest(lambda k: k.update(recipe="int4")),
    "manifest variant a list": _manifest(lambda k: k.update(variant=["int4"])),
    "manifest task unknown": _manifest(lambda k: k.update(task="rm")),
    "manifest with another key": _manifest(lambda k: k.update(surprise=1)),
    "manifest a pipe": _pipe("manifest.json"),
    "graph damaged": _flip("model.onnx"),
    "graph cut": _cut("model.onnx"),
    "graph empty": _file("model.onnx", b""),
    "graph of noise": _file("model.onnx", bytes(range(256)) * 64),
    "graph a pipe": _pipe("model.onnx"),
    "graph a link outside": _link("model.onnx", ""),
    "weights damaged": _flip("model.onnx_data"),
    "weights cut": _cut("model.onnx_data"),
    "weights cut, manifest agrees": _file("model.onnx_data", b"\0" * 4096),
    "weights absent": lambda folder: (folder / "model.onnx_data").unlink(),
    "weights a link outside": _link("model.onnx_data", ""),
    "weights a link to nothing": _link("model.onnx_data", "absent"),
    "weights a link to a device": _link("model.onnx_data", "/dev/zero"),
    "external data in the parent": _external(location="../outside"),
    "external data absolute": _external(location="/etc/passwd"),
    "external data by a detour": _external(location="x/../../outside"),
    "external data absent": _external(location="absent"),
    "external data negative offset": _external(offset="-4096"),
    "external data vast offset": _external(offset=str(2**62)),
    "external data offset no number": _external(offset="zero"),
    "external data vast length": _external(length=str(2**62)),
    "external data negative length": _external(length="-1"),
    "an unknown operator": _graph(_unknown_operator),
    "a function that calls itself": _graph(_cyclic_function),
    "no cache": _graph(_without_inputs),
    "no logits": _graph(_no_logits),
    "a vast cache": _graph(_caches(2**40)),
    "a cache of nothing": _graph(_caches(0)),
    "a cache of another width": _graph(_caches(16)),
    "config of another vocabulary": _config(vocab_size=4096),
    "config with no heads": _config(n_head=0),
    "config not JSON": _file("config.json", b"]"),
    "tokenizer not JSON": _file("tokenizer.json", b"{"),
    "tokenizer damaged": _flip("tokenizer.json"),
    "tokenizer of noise": _file("tokenizer.json", b"\xff" * 999),
    "generation settings wrong": _file("generation_config.json", b'{"max_new_tokens":-7}'),
    "generation settings a list": _file("generation_config.json", b"[]"),
}  # fmt: skip
"""Each by what is wrong with it."""


HARMLESS: Final[dict[str, Damage]] = {
    "a vast weight that nothing reads": _graph(_vast_tensor),
    "config of a longer context": _config(n_positions=4096),
}
"""These load, and what little they can still do is right."""


def hostile_folder(name: str, model: ModelDir, folder: Path) -> Path:
    """The model folder ``name`` of either table, made from a good one."""
    shutil.copytree(model.path, folder)
    {**HOSTILE, **HARMLESS}[name](folder)
    return folder
