"""Torch files that torch wrote, and logits of transformers: the form's own library decides."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2edge.export import export_checkpoint
from gpt2edge.export.sources.torch_files import read_torch_file, tensors_of
from tests.checkpoints import SMALL
from tests.forms.test_forms import PROMPT, logits
from tests.forms.torch_writer import View, bfloat16, write_legacy, write_zip

pytestmark = pytest.mark.interop
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
TOLERANCE = 1e-4


def model(**changes: Any) -> Any:
    """A GPT-2 of transformers with weights of a trained model's scale."""
    torch.manual_seed(7)
    keys = {"bos_token_id": None, "eos_token_id": None, "attn_implementation": "eager", **changes}
    made = transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**SMALL, **keys})).eval()
    with torch.no_grad():
        for name, p in made.named_parameters():
            if "ln_" in name:
                p.copy_((0.1 if name.endswith("bias") else 0.2) * torch.randn_like(p))
                p.add_(float(name.endswith("weight")))
            else:
                p.copy_(torch.randn_like(p) / 32**0.5)
    return made


def expected(made: Any) -> Any:
    with torch.no_grad():
        return made.float()(torch.tensor([PROMPT])).logits[0].numpy()


def folder(tmp_path: Path, made: Any) -> Path:
    source = tmp_path / "hf"
    source.mkdir()
    made.config.save_pretrained(source)
    return source


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_a_state_dict(dtype: str, zipped: bool, tmp_path: Path) -> None:
    made = model().to(getattr(torch, dtype))
    source = folder(tmp_path, made)
    path = source / "pytorch_model.bin"
    torch.save(made.state_dict(), path, _use_new_zipfile_serialization=zipped)
    found = logits(export_checkpoint(source, tmp_path / "out"))
    assert np.abs(found - expected(made)).max() <= TOLERANCE


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_of_nanogpt(zipped: bool, tmp_path: Path) -> None:
    made = model(activation_function="gelu")
    state = {
        f"_orig_mod.{name}": t.t().contiguous() if t.ndim == 2 and ".h." in name else t
        for name, t in made.state_dict().items()
    }
    optimizer = torch.optim.AdamW(made.parameters())
    sum(p.sum() for p in made.parameters()).backward()
    before = expected(made)
    optimizer.step()
    args = {"n_layer": 2, "n_head": 4, "n_embd": 32, "block_size": 64, "vocab_size": 97}
    saved = {name: t.clone() for name, t in state.items()}
    for name, p in model(activation_function="gelu").state_dict().items():
        saved[f"_orig_mod.{name}"] = p.t().contiguous() if p.ndim == 2 and ".h." in name else p
    value = {
        "model": saved,
        "optimizer": optimizer.state_dict(),
        "model_args": {**args, "bias": True},
        "best_val_loss": torch.tensor(1.5),
    }
    path = tmp_path / "ckpt.pt"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    found = logits(export_checkpoint(path, tmp_path / "out"))
    assert np.abs(found - before).max() <= TOLERANCE


def test_views_and_parameters(tmp_path: Path) -> None:
    made = model()
    state = {n: t.t().contiguous().t() if t.ndim == 2 else t for n, t in made.state_dict().items()}
    state["transformer.h.0.ln_1.weight"] = made.transformer.h[0].ln_1.weight  # a Parameter
    source = folder(tmp_path, made)
    torch.save(state, source / "model.pth")
    found = logits(export_checkpoint(source, tmp_path / "out"))
    assert np.abs(found - expected(made)).max() <= TOLERANCE


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_torch_reads_what_the_tests_write(write: Any, tmp_path: Path) -> None:
    flat = np.arange(100, dtype="f4")
    value = {"a": flat.reshape(4, 25), "view": View(flat, 10, (4, 3), (1, 4)), "n": 2**40}
    path = tmp_path / "any.pt"
    write(path, {**value, "half": bfloat16(np.array([1, -2], "f4"))})
    back = torch.load(path, weights_only=True)
    assert torch.equal(back["a"], torch.from_numpy(value["a"]))
    assert torch.equal(back["view"], torch.from_numpy(flat).as_strided((4, 3), (1, 4), 10))
    assert back["half"].float().tolist() == [1, -2]
    assert back["n"] == 2**40


def test_every_storage_is_equal_to_torch_s(tmp_path: Path) -> None:
    made = model()
    path = tmp_path / "any.pt"
    torch.save(made.state_dict(), path)
    file = read_torch_file(path)
    for name, tensor in tensors_of(file, file.value).items():
        assert np.array_equal(tensor.read(), made.state_dict()[name].numpy()), name
    assert json.dumps(sorted(file.value)) == json.dumps(sorted(made.state_dict()))
