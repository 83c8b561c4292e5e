"""Names, shapes and values against TransformerLens itself, in an environment of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2edge
from gpt2edge.export import export_checkpoint
from gpt2edge.inside import Inside, LogitDiff, activation_patch, hook_names
from tests.checkpoints import SMALL, write_checkpoint
from tests.inside.test_capture import draw

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]
lens = pytest.importorskip("transformer_lens", reason="interop: needs transformer-lens")
torch = pytest.importorskip("torch", reason="interop: needs torch")
transformers = pytest.importorskip("transformers", reason="interop: needs transformers")

KEYS = {**SMALL, "n_embd": 48, "n_layer": 3, "bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random GPT-2 whose heads of 12 the exporter pads."""
    found = tmp_path_factory.mktemp("lens")
    write_checkpoint(found / "hf", KEYS, seed=4)
    return found


@pytest.fixture(scope="module")
def bridge(folder: Path) -> Any:
    """TransformerLens' model: its mode of raw weights."""
    from transformer_lens.model_bridge import TransformerBridge

    model = transformers.GPT2LMHeadModel.from_pretrained(
        folder / "hf", attn_implementation="eager", dtype=torch.float32
    ).eval()
    return TransformerBridge.boot_transformers(str(folder / "hf"), hf_model=model)


@pytest.fixture(scope="module")
def inside(folder: Path) -> Inside:
    """Ours of the same checkpoint."""
    return gpt2edge.load(export_checkpoint(folder / "hf", folder / "onnx").path).inside()


@pytest.fixture(scope="module")
def theirs(bridge: Any) -> tuple[Any, Any]:
    """Logits and cache."""
    with torch.no_grad():
        logits, cache = bridge.run_with_cache(torch.tensor([draw(20, 97)]))
    return logits[0].numpy(), cache


def test_every_name_that_both_have_has_one_shape_and_one_value(
    inside: Inside, theirs: tuple[Any, Any]
) -> None:
    want_logits, want = theirs
    logits, cache = inside.run_with_cache(draw(20, 97))
    np.testing.assert_allclose(logits, want_logits, atol=1e-4)
    shared = [name for name in hook_names(3) if name in want]
    missing = set(hook_names(3)) - set(shared)
    assert {name.rpartition(".")[2] for name in missing} <= {"hook_result"}  # off by default
    for name in shared:
        value = want[name][0].numpy()
        assert cache[name].shape == value.shape, name
        finite = np.isfinite(cache[name])  # masked scores are -inf here, the least float there
        np.testing.assert_allclose(
            cache[name][finite], value[finite], atol=1e-4, rtol=1e-5, err_msg=name
        )
    print(f"{len(shared)} values of TransformerLens {getattr(lens, '__version__', '')}")
    assert len(shared) > 45


@pytest.mark.parametrize("short", ["q", "k", "v", "z", "pattern", "resid_pre", "resid_mid", "pre"])
def test_a_shorthand_names_what_theirs_does(inside: Inside, short: str) -> None:
    from transformer_lens.utilities import get_act_name

    _, cache = inside.run_with_cache(draw(9, 97))
    full = get_act_name(short, 1)
    assert np.array_equal(cache[short, 1], cache[full])


def test_stacks_have_their_labels_and_values(inside: Inside, theirs: tuple[Any, Any]) -> None:
    _, want = theirs
    _, cache = inside.run_with_cache(draw(20, 97))
    for incl_mid in (False, True):
        stack, labels = cache.accumulated_resid(incl_mid=incl_mid, return_labels=True)
        other, names = want.accumulated_resid(incl_mid=incl_mid, return_labels=True)
        assert labels == list(names)
        np.testing.assert_allclose(stack, other[:, 0].numpy(), atol=1e-4)
    stack, labels = cache.decompose_resid(return_labels=True)
    other, names = want.decompose_resid(return_labels=True)
    assert labels == list(names)
    np.testing.assert_allclose(stack, other[:, 0].numpy(), atol=1e-4)


def test_hooks_change_what_theirs_change(bridge: Any, inside: Inside) -> None:
    ids = draw(20, 97)

    def halve(value: Any, hook: Any) -> Any:  # noqa: ARG001
        return value * 0.5

    name = "blocks.1.hook_resid_post"
    with torch.no_grad():
        want = bridge.run_with_hooks(torch.tensor([ids]), fwd_hooks=[(name, halve)])[0].numpy()
    got = inside.run_with_hooks(ids, [(name, halve)])
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_a_patching_sweep_is_theirs(bridge: Any, inside: Inside) -> None:
    clean, corrupted = draw(12, 97), draw(12, 97)
    corrupted[4] = (corrupted[4] + 1) % 97
    result = activation_patch(inside, clean, corrupted, LogitDiff(3, 5), site="resid_pre")
    with torch.no_grad():
        _, cache = bridge.run_with_cache(torch.tensor([clean]))
    for layer in range(3):
        name = f"blocks.{layer}.hook_resid_pre"
        for at in range(12):

            def patch(value: Any, hook: Any, at: int = at, name: str = name) -> Any:  # noqa: ARG001
                value = value.clone()
                value[:, at] = cache[name][:, at]
                return value

            with torch.no_grad():
                logits = bridge.run_with_hooks(torch.tensor([corrupted]), fwd_hooks=[(name, patch)])
            want = float(logits[0, -1, 3] - logits[0, -1, 5])
            assert result.values[layer, at] == pytest.approx(want, abs=1e-4)
