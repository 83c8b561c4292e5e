"""Sources that are not read: each is named, with what to do."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints import SMALL, random_tensors, save_tensors, write_checkpoint
from tests.cli.running import error
from tests.forms import folders, gguf_writer
from tests.forms.bundle_writer import write_bundle
from tests.forms.torch_writer import Raw, instance, write_zip

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 548118077\n"
Make = Callable[[Path], Any]


def tensors() -> dict[str, Any]:
    return dict(folders.named(random_tensors(SMALL)))


def put(name: str, data: bytes = b"?" * 99, *, keys: bool = False) -> Make:
    """A file, and config.json beside it."""

    def make(folder: Path) -> None:
        (folder / name).write_bytes(data)
        if keys:
            folders.config(folder)

    return make


def torch(name: str, value: Any, *, keys: bool = True) -> Make:
    """A torch file, and config.json beside it."""

    def make(folder: Path) -> None:
        write_zip(folder / name, value)
        if keys:
            folders.config(folder)

    return make


def both(*makes: Make) -> Make:
    return lambda folder: [make(folder) for make in makes]


def trainer_output(folder: Path) -> None:
    for step in (500, 1000):
        write_checkpoint(folder / f"checkpoint-{step}")


def adapter(**settings: Any) -> Make:
    return lambda folder: folders.lora(**settings)(folder, random_tensors(SMALL))


def misfit(folder: Path) -> None:
    """An adapter for a wider model."""
    folders.lora()(folder, random_tensors({**SMALL, "n_embd": 64, "n_head": 4}))
    write_checkpoint(folder / "base")


def gguf(**values: Any) -> Make:
    found = folders.gguf_tensors(random_tensors(SMALL))
    keys = {**folders.GGUF_VALUES, **values}
    return lambda folder: gguf_writer.write_gguf(folder / "m.gguf", keys, found)


def llmc(*header: int) -> bytes:
    return struct.pack(f"<{len(header)}i", *header).ljust(2048, b"\0")


def tensorflow(folder: Path) -> None:
    folders.tensorflow("model.ckpt", hparams=False)(folder, random_tensors(SMALL))


def damaged_index(folder: Path) -> None:
    write_bundle(folder / "model.ckpt", {"model/wte": np.ones((4, 4), "f4")})
    path = folder / "model.ckpt.index"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)


STATE = {"optimizer.pt": {"state": {}, "param_groups": []}, "scheduler.pt": {"last_epoch": 1}}
WHOLE = instance("transformers.models.gpt2.modeling_gpt2.GPT2LMHeadModel", {"training": True})
MEGATRON = {"args": 1, "checkpoint_version": 3.0, "model": {"language_model": {}}}

REFUSED: dict[str, tuple[Make, str]] = {
    "nothing": (lambda _: None, "neither weights nor a config.json: give a folder with"),
    "only config.json": (folders.config, "a config.json but no weights"),
    "only weights": (lambda f: save_tensors(f, tensors()), "put the model's config.json beside it"),
    "LFS, safetensors": (
        put("model.safetensors", LFS, keys=True),
        "is a Git LFS pointer of 548 MB, not the file: run git lfs pull",
    ),
    "LFS, torch": (put("pytorch_model.bin", LFS, keys=True), "run git lfs pull"),
    "LFS, another name": (put("model.pt", LFS, keys=True), "run git lfs pull"),
    "LFS, GGUF": (put("gpt2.gguf", LFS), "run git lfs pull"),
    "LFS, config.json": (
        both(put("config.json", LFS), lambda f: save_tensors(f, tensors())),
        "run git lfs pull",
    ),
    "a page": (
        put("pytorch_model.bin", b"\n<html>404</html>", keys=True),
        "is a web page, not the file",
    ),
    "empty": (put("model.safetensors", b"", keys=True), "is empty: get the file again"),
    "a torch file of no kind": (put("gpt2.pth", keys=True), "does not begin like one"),
    "training state": (
        both(*(torch(name, value) for name, value in STATE.items())),
        "holds the state of a training (optimizer.pt, scheduler.pt) and no weights",
    ),
    "training folder": (trainer_output, "holds checkpoint-1000, checkpoint-500: give one of these"),
    "several torch files": (
        both(torch("a.pt", {}), torch("b.pt", {})),
        "holds a.pt, b.pt: give one of these files",
    ),
    "a whole model": (
        torch("pytorch_model.bin", WHOLE),
        "holds an object of transformers.models.gpt2.modeling_gpt2.GPT2LMHeadModel, not its "
        "weights: save the weights with torch.save(model.state_dict(),",
    ),
    "a whole model beside more": (torch("m.pt", {"model": WHOLE}), "GPT2LMHeadModel, not its"),
    "an optimizer": (torch("last.pt", STATE["optimizer.pt"]), "the state of an optimizer"),
    "Megatron": (torch("model_optim_rng.pt", MEGATRON), "looks like a checkpoint of Megatron"),
    "weights without sizes": (
        torch("model.pt", tensors(), keys=False),
        "nothing says how many attention heads",
    ),
    "two models": (
        torch("m.pt", {f"{a}.{n}": t for a in ("actor", "critic") for n, t in tensors().items()}),
        "tensors of 2 models",
    ),
    "nanoGPT without a size": (
        torch("ckpt.pt", {"model": tensors(), "model_args": {"n_layer": 2}}, keys=False),
        "its n_head is absent; it must be a whole number",
    ),
    "nanoGPT with a size of its own": (
        torch("ckpt.pt", {"model": tensors(), "model_args": {"n_layer": Raw(b"]")}}, keys=False),
        "its n_layer is a list",
    ),
    "several llm.c models": (
        both(put("a.bin", llmc(20240326)), put("b.bin", llmc(20240326))),
        "holds a.bin, b.bin: give one of these files",
    ),
    "llm.c of the future": (put("a.bin", llmc(20240326, 9)), "version 9; 3 and 5 are read"),
    "llm.c, cut": (
        put("a.bin", llmc(20240326, 3, 64, 97, 2, 4, 8, 128)),
        "has 2048 bytes; its header makes it",
    ),
    "llm.c of many layers": (
        put("a.bin", llmc(20240326, 3, 64, 97, 1 << 23, 4, 32, 128)),
        "too few for 8388608 layers",
    ),
    "TensorFlow without sizes": (tensorflow, "has no hparams.json beside it"),
    "TensorFlow, damaged": (damaged_index, "its checksum is not the one that it states"),
    "GGUF of another model": (
        gguf(**{"general.architecture": "llama"}),
        "the architecture 'llama'; 'gpt2' is read",
    ),
    "GGUF without heads": (gguf(**{"gpt2.attention.head_count": 0}), "n_head is 0"),
    "several GGUF files": (
        both(put("a.gguf", b"GGUF"), put("b.gguf", b"GGUF")),
        "holds a.gguf, b.gguf: give one of these files",
    ),
    "an adapter without its base": (
        adapter(base_model_name_or_path="openai-community/gpt2"),
        "is an adapter (LoRA) of 'openai-community/gpt2', which is not a folder here: give the "
        "folder of that model as --base",
    ),
    "an adapter of another kind": (adapter(peft_type="IA3"), "of the kind 'IA3'; LORA is read"),
    "DoRA": (adapter(use_dora=True), "the adapter has DoRA, which is not read: merge it"),
    "PiSSA": (adapter(init_lora_weights="pissa"), "init_lora_weights 'pissa'"),
    "alpha as a text": (adapter(lora_alpha="8"), "lora_alpha is '8'"),
    "an adapter of another width": (misfit, "changes a product of"),
    "flax": (put("flax_model.msgpack", keys=True), "is of Flax, which is not read"),
    "Keras": (put("tf_model.h5", keys=True), "is of TensorFlow's Keras, which is not read"),
    "rust": (put("rust_model.ot", keys=True), "is of rust-bert, which is not read"),
    "tflite": (put("64.tflite"), "is of TensorFlow Lite"),
    "GGML": (put("ggml-model-f16.bin"), "is of GGML, before GGUF"),
    "ONNX": (put("decoder_model.onnx", keys=True), "is an ONNX graph"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_named(name: str, tmp_path: Path) -> None:
    make, expected = REFUSED[name]
    source = tmp_path / "source"
    source.mkdir()
    make(source)
    line = error("export", source, tmp_path / "out")
    assert expected in line
    assert str(source) in line
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_purpose(tmp_path: Path) -> None:
    path = tmp_path / "gpt2_tokenizer.bin"
    path.write_bytes(llmc(20240328))
    line = error("export", path, tmp_path / "out")
    assert "is a file of llm.c with a tokenizer: give its model" in line


def test_options_that_the_source_contradicts(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    line = error("export", tmp_path / "hf", tmp_path / "out", "--heads", 8)
    assert line.endswith("config.json says that n_head is 4: leave out --heads 8")
    line = error("export", tmp_path / "hf", tmp_path / "out", "--base", tmp_path)
    assert "is no adapter: --base is for adapters" in line
    line = error("export", tmp_path / "hf", tmp_path / "out", "--activation", "new")
    assert line.startswith("Error: --activation is 'new'; it must be one of gelu, ")


def test_optimum_gets_safetensors_only(tmp_path: Path) -> None:
    pytest.importorskip("optimum.exporters.onnx")
    source = tmp_path / "hf"
    source.mkdir()
    torch("pytorch_model.bin", tensors())(source)
    line = error("export", source, tmp_path / "out", "--via", "optimum")
    assert "Optimum reads Hugging Face folders with safetensors" in line


def test_sizes_of_config_json_may_be_absent(tmp_path: Path) -> None:
    """The number of heads is then an option."""
    source = tmp_path / "hf"
    write_checkpoint(source)
    keys = {key: value for key, value in SMALL.items() if key != "n_head"}
    (source / "config.json").write_text(json.dumps(keys))
    assert "n_head is absent" in error("export", source, tmp_path / "out")
    from tests.cli.running import output

    output("export", source, tmp_path / "out", "--heads", 4)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["n_head"] == 4
