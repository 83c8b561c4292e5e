"""Every form in which people keep a GPT-2, of one small model, made without the form's program."""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.checkpoints import SMALL, Tensors, random_tensors, save_tensors
from tests.forms import gguf_writer
from tests.forms.bundle_writer import write_bundle
from tests.forms.torch_writer import (
    View,
    bfloat16,
    instance,
    parameter,
    write_legacy,
    write_zip,
)

Write = Callable[[Path, Any], None]
PRODUCTS: Final = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
SIZES: Final = {"n_layer": 2, "n_head": 4, "n_embd": 32, "block_size": 64, "vocab_size": 97}
RANK: Final = 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """A form: how it is written from a model's tensors, and the plain GPT-2 that it is.

    ``tensors`` makes the plain model's tensors of those that ``write`` gets, random ones of
    ``SMALL`` and ``keys``; ``warns`` is part of a warning, ``options`` are arguments of the
    command, ``file`` is what is given of the folder.
    """

    write: Callable[[Path, Tensors], None]
    form: str
    keys: Mapping[str, Any] = field(default_factory=dict)
    tensors: Callable[[Tensors], Tensors] = dict
    warns: str = ""
    file: str = ""
    options: tuple[str, ...] = ()

    def random(self) -> Tensors:
        """What ``write`` gets."""
        return random_tensors({**SMALL, **self.keys})


def linear(tensors: Tensors) -> Tensors:
    """Products as ``torch.nn.Linear`` keeps them."""
    return {
        name: np.ascontiguousarray(tensor.T) if name.endswith(PRODUCTS) else tensor
        for name, tensor in tensors.items()
    }


def named(tensors: Tensors, prefix: str = "transformer.") -> Tensors:
    """Names as in a file: a prefix before all but the head."""
    return {
        name if name.startswith("lm_head") else prefix + name: tensor
        for name, tensor in tensors.items()
    }


def with_head(tensors: Tensors, name: str = "lm_head.weight") -> Tensors:
    """The embedding a second time, as the head."""
    return {**tensors, name: next(t for key, t in tensors.items() if key.endswith("wte.weight"))}


def with_buffers(tensors: Tensors) -> Tensors:
    """The causal masks that upstream saved for years."""
    mask = np.tril(np.ones((1, 1, 64, 64), np.uint8))
    masks = {f"transformer.h.{i}.attn.bias": mask for i in range(2)}
    fill = {f"transformer.h.{i}.attn.masked_bias": np.array(-1e4, np.float32) for i in range(2)}
    return {**tensors, **masks, **fill}


def config(folder: Path, keys: Mapping[str, Any] = SMALL) -> None:
    """A config.json."""
    (folder / "config.json").write_text(json.dumps({**SMALL, **keys}))


def upstream(
    change: Callable[[Tensors], Any] = lambda t: with_buffers(with_head(named(t))),
    write: Write = write_zip,
    name: str = "pytorch_model.bin",
) -> Callable[[Path, Tensors], None]:
    """A folder of transformers whose weights torch wrote."""

    def make(folder: Path, tensors: Tensors) -> None:
        config(folder)
        write(folder / name, change(tensors))

    return make


def cast(dtype: Any) -> Callable[[Tensors], Tensors]:
    """The numbers as this type keeps them, in float32."""
    return lambda tensors: {
        name: tensor.astype(dtype).astype(np.float32) for name, tensor in tensors.items()
    }


def matrices_as_half(tensors: Tensors) -> Tensors:
    """Matrices as float16 keeps them, in float32."""
    return {n: a.astype("f2").astype("f4") if a.ndim == 2 else a for n, a in tensors.items()}


def cut_to_bfloat16(tensors: Tensors) -> Tensors:
    """The numbers as bfloat16 keeps them, in float32."""
    return {name: (t.view("<u4") >> 16 << 16).view("<f4") for name, t in tensors.items()}


def views(tensors: Tensors) -> dict[str, Any]:
    """Transposed products, and two norms in one storage."""
    made: dict[str, Any] = dict(named(tensors))
    for name, tensor in tensors.items():
        if name.endswith(PRODUCTS):
            rows, columns = tensor.shape
            flat = np.ascontiguousarray(tensor.T).reshape(-1)
            made[f"transformer.{name}"] = View(flat, 0, (rows, columns), (1, rows))
    norms = [f"h.{i}.ln_1.weight" for i in range(2)]
    both = np.concatenate([np.zeros(3, "f4"), *(tensors[name] for name in norms), np.ones(5, "f4")])
    for i, name in enumerate(norms):
        made[f"transformer.{name}"] = View(both, 3 + 32 * i, (32,), (1,))
    return made


def sharded(folder: Path, tensors: Tensors) -> None:
    """Two files and their index."""
    config(folder)
    state = named(tensors)
    weight_map: dict[str, str] = {}
    for number, names in enumerate((list(state)[::2], list(state)[1::2]), 1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        write_zip(folder / file, {name: state[name] for name in names})
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def lightning(tensors: Tensors) -> dict[str, Any]:
    """What PyTorch Lightning saves around the weights."""
    return {
        "state_dict": named(tensors, "model.transformer."),
        "epoch": 3,
        "optimizer_states": [],
        "hyper_parameters": {"lr": 1e-3},
    }


def nanogpt(*, bias: bool = True, prefix: str = "") -> Callable[[Path, Tensors], None]:
    """nanoGPT's ckpt.pt, with its optimizer."""

    def make(folder: Path, tensors: Tensors) -> None:
        state = with_head(named(linear(tensors)))
        state = {prefix + n: t for n, t in state.items() if bias or not n.endswith("bias")}
        args = {**SIZES, "bias": bias, "dropout": 0.0}
        step = {"step": np.array(3.0, "f4"), "exp_avg": np.zeros((97, 32), "f4")}
        value = {
            "model": state,
            "optimizer": {"state": {0: step}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
            "model_args": args,
            "iter_num": 250,
            "best_val_loss": np.array(1.47, "f4"),
            "config": {"out_dir": "out", "compile": bool(prefix)},
        }
        write_zip(folder / "ckpt.pt", value)

    return make


def without_biases(tensors: Tensors) -> Tensors:
    """Zeros for every bias."""
    return {n: np.zeros_like(t) if n.endswith("bias") else t for n, t in tensors.items()}


def build_nanogpt(folder: Path, tensors: Tensors) -> None:
    """build-nanogpt's model: its configuration is an object of the program's class."""
    state = with_head(named(linear(tensors)))
    value = {"model": state, "config": instance("__main__.GPTConfig", SIZES), "step": 5000}
    write_zip(folder / "model_05000.pt", value)


def mingpt(folder: Path, tensors: Tensors) -> None:
    """minGPT's model.pt and config.json."""
    state = named(linear(tensors))
    state["transformer.h.0.attn.bias"] = np.tril(np.ones((1, 1, 64, 64), "f4"))
    write_zip(folder / "model.pt", state)
    keys = {"system": {"seed": 1}, "model": {"model_type": None, **SIZES}, "trainer": {}}
    (folder / "config.json").write_text(json.dumps(keys))


def bare_mingpt(folder: Path, tensors: Tensors) -> None:
    """minGPT's model.pt alone."""
    write_zip(folder / "model.pt", named(linear(tensors)))


def llmc(version: int) -> Callable[[Path, Tensors], None]:
    """llm.c's model, its embedding padded to 128 rows."""

    def make(folder: Path, tensors: Tensors) -> None:
        padded = {**linear(tensors)}
        padded["wte.weight"] = np.pad(tensors["wte.weight"], ((0, 31), (0, 0)))
        parts = [
            f"{kind}.{part}"
            for kind in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
            for part in ("weight", "bias")
        ]
        order = ["wte.weight", "wpe.weight", *(f"h.{i}.{p}" for p in parts for i in range(2))]
        order += ["ln_f.weight", "ln_f.bias"]
        header = struct.pack("<8i", 20240326, version, 64, 97, 2, 4, 32, 128).ljust(1024, b"\0")
        raw = [padded[name] if version == 3 else bfloat16(padded[name]).bits for name in order]
        (folder / "model.bin").write_bytes(header + b"".join(a.tobytes() for a in raw))

    return make


def tensorflow(
    prefix: str, *, hparams: bool = True, older: bool = False
) -> Callable[[Path, Tensors], None]:
    """OpenAI's layout: kernels with a first axis of one."""

    def make(folder: Path, tensors: Tensors) -> None:
        renamed = {f"model/{_tensorflow_name(name)}": t for name, t in tensors.items()}
        renamed = {n: t[None] if n.endswith("/w") else t for n, t in renamed.items()}
        extra = {"model/wte/Adam": np.zeros((97, 32), "f4"), "beta1_power": np.ones((), "f4")}
        write_bundle(folder / prefix, {**renamed, **extra})
        if older:
            write_bundle(folder / "model-9", {"model/wte": np.zeros((2, 2), "f4")})
        else:
            (folder / "checkpoint").write_text(f'model_checkpoint_path: "/elsewhere/{prefix}"\n')
        if hparams:
            sizes = {"n_vocab": 97, "n_ctx": 64, "n_embd": 32, "n_head": 4, "n_layer": 2}
            (folder / "hparams.json").write_text(json.dumps(sizes))

    return make


def _tensorflow_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] in ("wte", "wpe"):
        return parts[0]
    last = {"weight": "w" if parts[-2].startswith("c_") else "g", "bias": "b"}[parts[-1]]
    if parts[0] == "ln_f":
        return f"ln_f/{last}"
    return "/".join([f"h{parts[1]}", *parts[2:-1], last])


_GGUF: Final = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
GGUF_VALUES: Final = {
    "general.architecture": "gpt2",
    "gpt2.context_length": 64,
    "gpt2.embedding_length": 32,
    "gpt2.block_count": 2,
    "gpt2.feed_forward_length": 128,
    "gpt2.attention.head_count": 4,
    "gpt2.attention.layer_norm_epsilon": 1e-5,
}


def gguf_tensors(tensors: Tensors) -> Tensors:
    """The tensors by GGUF's names."""
    named_ = {}
    for name, tensor in linear(tensors).items():
        parts = name.split(".")
        block = f"blk.{parts[1]}." if parts[0] == "h" else ""
        stem = ".".join(parts[2:-1] if block else parts[:-1])
        named_[f"{block}{_GGUF[stem]}.{parts[-1]}"] = tensor
    return named_


def gguf(kind: int, *, head: bool = False) -> Callable[[Path, Tensors], None]:
    """A GGUF file."""

    def make(folder: Path, tensors: Tensors) -> None:
        found = gguf_tensors(tensors)
        if head:
            found["output.weight"] = tensors["wte.weight"]
        gguf_writer.write_gguf(folder / "model.gguf", GGUF_VALUES, found, kind)

    return make


def through_q8_0(tensors: Tensors) -> Tensors:
    """Matrices as Q8_0 keeps them."""
    kept = {n: gguf_writer.q8_0(t)[1] if t.ndim == 2 else t for n, t in linear(tensors).items()}
    return linear(kept)


def lora(**settings: Any) -> Callable[[Path, Tensors], None]:
    """An adapter of c_attn and c_fc beside its base; ``tensors`` are the base's."""

    def make(folder: Path, tensors: Tensors) -> None:
        base = folder / "base"
        base.mkdir()
        config(base)
        layout = linear(tensors) if settings.get("linear_base") else tensors
        save_tensors(base, named(layout))
        keys = {
            "peft_type": "LORA",
            "base_model_name_or_path": str(base),
            "r": RANK,
            "lora_alpha": 8,
            "fan_in_fan_out": True,
            **settings,
        }
        (folder / "adapter_config.json").write_text(json.dumps(keys))
        state = {f"base_model.model.transformer.{n}": t for n, t in lora_matrices(tensors).items()}
        if settings.get("bias"):
            state["base_model.model.transformer.h.0.attn.c_attn.base_layer.bias"] = np.ones(
                96, "f4"
            )
        if settings.get("binary"):
            write_zip(folder / "adapter_model.bin", state)
            return
        save_tensors(folder, state)
        (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")

    return make


def lora_matrices(tensors: Tensors) -> Tensors:
    """A [r, in] and B [out, r] of two products in each block."""
    rng = np.random.default_rng(3)
    found = {}
    for name, tensor in tensors.items():
        if name.endswith(("c_attn.weight", "c_fc.weight")):
            stem = name.removesuffix(".weight")
            inner, outer = tensor.shape
            a, b = rng.standard_normal((RANK, inner)), rng.standard_normal((outer, RANK))
            found[f"{stem}.lora_A.weight"] = (0.1 * a).astype("f4")
            found[f"{stem}.lora_B.weight"] = (0.1 * b).astype("f4")
    return found


def merged(scale: Callable[[str], float], *, bias: bool = False) -> Callable[[Tensors], Tensors]:
    """The base with every product changed by ``scale(name)`` times (B A) transposed."""

    def merge(tensors: Tensors) -> Tensors:
        result, matrices = dict(tensors), lora_matrices(tensors)
        for name in [name for name in matrices if "lora_A" in name]:
            target = name.replace(".lora_A", "")
            product = matrices[name.replace("lora_A", "lora_B")].astype("f8") @ matrices[name]
            result[target] = (tensors[target] + scale(target) * product.T).astype("f4")
        if bias:
            result["h.0.attn.c_attn.bias"] = np.ones(96, "f4")
        return result

    return merge


def safetensors(change: Callable[[Tensors], Tensors]) -> Callable[[Path, Tensors], None]:
    """A folder of transformers with safetensors."""

    def make(folder: Path, tensors: Tensors) -> None:
        config(folder)
        save_tensors(folder, change(tensors))

    return make


UNTIED: Final = {"tie_word_embeddings": False}
EXACT: Final = {"activation_function": "gelu"}
HF, TORCH = "Hugging Face safetensors", "Hugging Face PyTorch file"
TF: Final = "TensorFlow checkpoint of OpenAI's GPT-2"
MERGED: Final = f"LoRA adapter, merged into {HF}"

FORMS: Final[dict[str, Case]] = {
    "safetensors": Case(write=safetensors(named), form=HF),
    "safetensors, [out, in]": Case(
        write=safetensors(lambda t: named(linear(t))), form=HF, warns="transposed"
    ),
    "safetensors without biases": Case(
        write=safetensors(lambda t: {n: a for n, a in t.items() if not n.endswith("bias")}),
        form=HF,
        tensors=without_biases,
        warns="all are zero",
    ),
    "zip": Case(write=upstream(), form=TORCH),
    "stream": Case(write=upstream(write=write_legacy), form=TORCH),
    "half": Case(
        write=upstream(lambda t: named({n: a.astype("f2") for n, a in t.items()})),
        form=TORCH,
        tensors=cast("f2"),
    ),
    "half, stream": Case(
        write=upstream(lambda t: named({n: a.astype("f2") for n, a in t.items()}), write_legacy),
        form=TORCH,
        tensors=cast("f2"),
    ),
    "bfloat16": Case(
        write=upstream(lambda t: {f"transformer.{n}": bfloat16(a) for n, a in t.items()}),
        form=TORCH,
        tensors=cut_to_bfloat16,
    ),
    "bfloat16, stream": Case(
        write=upstream(
            lambda t: {f"transformer.{n}": bfloat16(a) for n, a in t.items()}, write_legacy
        ),
        form=TORCH,
        tensors=cut_to_bfloat16,
    ),
    "double": Case(
        write=upstream(lambda t: named({n: a.astype("f8") for n, a in t.items()})),
        form=TORCH,
        warns="rounded to float32",
    ),
    "big-endian": Case(
        write=upstream(write=lambda path, value: write_zip(path, value, order="big")), form=TORCH
    ),
    "views": Case(write=upstream(views), form=TORCH),
    "views, stream": Case(write=upstream(views, write_legacy), form=TORCH),
    "parameters": Case(
        write=upstream(lambda t: {n: parameter(a) for n, a in named(t).items()}), form=TORCH
    ),
    "no prefix": Case(write=upstream(dict), form=TORCH),
    "DataParallel": Case(
        write=upstream(lambda t: named(t, "module.transformer.")), form=TORCH, warns="'module.'"
    ),
    "DialoGPT": Case(
        write=upstream(lambda t: with_head(named(t), "lm_head.decoder.weight")), form=TORCH
    ),
    "only the head": Case(
        write=upstream(
            lambda t: {"lm_head.weight" if n == "wte.weight" else n: a for n, a in t.items()}
        ),
        form=TORCH,
    ),
    "value head": Case(
        write=upstream(lambda t: {**named(t), "v_head.summary.weight": np.ones((1, 32), "f4")}),
        form=TORCH,
        warns="of another head",
    ),
    "Lightning": Case(write=upstream(lightning, name="last.ckpt"), form=TORCH, warns="'model.'"),
    "model_state_dict": Case(
        write=upstream(lambda t: {"model_state_dict": named(t), "epoch": 1}, name="gpt2.pth"),
        form=TORCH,
    ),
    "pkl": Case(write=upstream(named, write_legacy, "medium_ft.pkl"), form=TORCH),
    "shards": Case(write=sharded, form=TORCH),
    "nanoGPT": Case(write=nanogpt(), form="nanoGPT checkpoint", keys=EXACT),
    "nanoGPT, its file": Case(
        write=nanogpt(), form="nanoGPT checkpoint", keys=EXACT, file="ckpt.pt"
    ),
    "nanoGPT, no biases, compiled": Case(
        write=nanogpt(bias=False, prefix="_orig_mod."),
        form="nanoGPT checkpoint",
        keys=EXACT,
        tensors=without_biases,
    ),
    "nanoGPT of 2022": Case(
        write=nanogpt(), form="nanoGPT checkpoint", options=("--activation", "gelu_new")
    ),
    "build-nanogpt": Case(write=build_nanogpt, form="build-nanogpt checkpoint"),
    "minGPT": Case(write=mingpt, form="minGPT model", keys=UNTIED),
    "minGPT without config.json": Case(
        write=bare_mingpt, form="minGPT model", keys=UNTIED, options=("--heads", "4"),
        warns="differs",
    ),
    "llm.c, float32": Case(write=llmc(3), form="llm.c model"),
    "llm.c, bfloat16": Case(write=llmc(5), form="llm.c model", tensors=cut_to_bfloat16),
    "OpenAI": Case(write=tensorflow("model.ckpt"), form=TF),
    "OpenAI, by its prefix": Case(write=tensorflow("model.ckpt"), form=TF, file="model.ckpt"),
    "gpt-2-simple": Case(write=tensorflow("model-1000", older=True), form=TF),
    "TensorFlow without hparams.json": Case(
        write=tensorflow("model.ckpt", hparams=False), form=TF, options=("--heads", "4")
    ),
    "GGUF, F32": Case(write=gguf(gguf_writer.F32), form="GGUF file"),
    "GGUF, F16": Case(
        write=gguf(gguf_writer.F16, head=True),
        form="GGUF file",
        tensors=matrices_as_half,
    ),
    "GGUF, Q8_0": Case(
        write=gguf(gguf_writer.Q8_0), form="GGUF file", tensors=through_q8_0, warns="(Q8_0)"
    ),
    "LoRA": Case(write=lora(), form=MERGED, tensors=merged(lambda _: 8 / RANK)),
    "LoRA, rank-stabilized": Case(
        write=lora(use_rslora=True), form=MERGED, tensors=merged(lambda _: 8 / RANK**0.5)
    ),
    "LoRA, alpha by name": Case(
        write=lora(alpha_pattern={"h.1.attn.c_attn": 32}),
        form=MERGED,
        tensors=merged(lambda n: (32 if n == "h.1.attn.c_attn.weight" else 8) / RANK),
    ),
    "LoRA with biases": Case(
        write=lora(bias="all"), form=MERGED, tensors=merged(lambda _: 8 / RANK, bias=True)
    ),
    "LoRA, torch's file": Case(
        write=lora(binary=True), form=MERGED, tensors=merged(lambda _: 8 / RANK)
    ),
    "LoRA on [out, in]": Case(
        write=lora(linear_base=True),
        form=MERGED,
        tensors=merged(lambda _: 8 / RANK),
    ),
}  # fmt: skip
"""Forms that are read."""
