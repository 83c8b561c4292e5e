"""Values inside against transformers' hidden states, attentions and forward hooks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2edge
from gpt2edge.export import export_checkpoint
from gpt2edge.inside import Edit, token_statistics
from tests.checkpoints import SMALL, write_checkpoint
from tests.conftest import ROOT
from tests.inside.test_capture import VARIANTS, draw

torch = pytest.importorskip("torch", reason="interop: needs torch")
transformers = pytest.importorskip("transformers", reason="interop: needs transformers")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

torch.set_num_threads(1)  # the models are tiny

STORY = ROOT / "training" / "models" / "storyteller"
SITES = {"resid_post": "block", "z": "z", "post": "post"}


def torch_model(folder: Path) -> Any:
    model = transformers.GPT2LMHeadModel.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    return model.eval()


def hooked(model: Any, ids: list[int]) -> tuple[dict[str, Any], Any]:
    """Inputs and outputs of modules by TransformerLens' names, and the model's output."""
    got: dict[str, Any] = {}

    def keep(name: str, *, before: bool = False) -> Any:
        def hook(_: Any, given: Any, *output: Any) -> None:
            value = given if before else output[0]
            got[name] = (value[0] if isinstance(value, tuple) else value).detach()[0].numpy()

        return hook

    handles = []
    for layer, block in enumerate(model.transformer.h):
        p = f"blocks.{layer}"
        pairs = [
            (block, "hook_resid_pre", True),
            (block, "hook_resid_post", False),
            (block.attn, "hook_attn_out", False),
            (block.attn.c_proj, "attn.hook_z", True),
            (block.ln_2, "hook_resid_mid", True),
            (block.mlp.c_fc, "mlp.hook_pre", False),
            (block.mlp.c_proj, "mlp.hook_post", True),
            (block.mlp, "hook_mlp_out", False),
        ]
        for module, name, before in pairs:
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            handles.append(register(keep(f"{p}.{name}", before=before)))
    with torch.no_grad():
        done = model(torch.tensor([ids]), output_hidden_states=True, output_attentions=True)
    for handle in handles:
        handle.remove()
    return got, done


@pytest.mark.parametrize("name", ["storyteller", *(n for n in VARIANTS if "bias" not in n)])
def test_values_patterns_and_lens_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    folder, count = STORY, 64
    if name != "storyteller":
        folder, count = tmp_path / "hf", 24
        keys = {**SMALL, **VARIANTS[name]}
        keys.pop("lm_head_bias", None)
        write_checkpoint(folder, keys, seed=2)
    model = torch_model(folder)
    exported = export_checkpoint(folder, tmp_path / "onnx")
    ids = draw(count, exported.config.vocab_size, seed=1)
    got, done = hooked(model, ids)
    with gpt2edge.load(exported.path) as engine:
        scope = engine.inside()
        logits, cache = scope.run_with_cache(ids)
        for hook, want in got.items():
            np.testing.assert_allclose(
                cache[hook].reshape(want.shape), want, atol=1e-4, rtol=1e-5, err_msg=hook
            )
        np.testing.assert_allclose(logits, done.logits[0].numpy(), atol=2e-4)
        worst = 0.0
        for layer in range(exported.config.n_layer):
            difference = np.abs(cache["pattern", layer] - done.attentions[layer][0].numpy()).max()
            worst = max(worst, float(difference))
            with torch.no_grad():
                state = done.hidden_states[layer][0]
                want = model.lm_head(model.transformer.ln_f(state)).numpy()
            lens = scope.readout(cache["resid_pre", layer])
            np.testing.assert_allclose(lens, want, atol=1e-4)
        print(f"{name}: patterns within {worst:.1e}")
        assert worst < 1e-5


@pytest.mark.parametrize("site", SITES)
def test_edits_are_those_of_torch_hooks(site: str, tmp_path: Path) -> None:
    model = torch_model(STORY)
    exported = export_checkpoint(STORY, tmp_path / "onnx")
    ids = draw(24, 4096, seed=3)
    layer, config = 3, exported.config
    rng = np.random.default_rng(0)
    block = model.transformer.h[layer]
    vector = rng.normal(size=config.n_embd).astype(np.float32)
    edits = {
        "resid_post": Edit.add(4 * vector, positions=[7, 9]),
        "z": Edit.zero(head=1),
        "post": Edit.zero(neuron=5),
    }

    def change(value: Any) -> Any:
        value = value.clone()
        if site == "resid_post":
            value[:, [7, 9]] += torch.tensor(4 * vector)
        elif site == "z":
            value[..., config.head_dim : 2 * config.head_dim] = 0
        else:
            value[..., 5] = 0
        return value

    if site == "resid_post":
        handle = block.register_forward_hook(
            lambda _, __, o: (change(o[0]), *o[1:]) if isinstance(o, tuple) else change(o)
        )
    else:
        module = block.attn.c_proj if site == "z" else block.mlp.c_proj
        handle = module.register_forward_pre_hook(lambda _, i: (change(i[0]),))
    with torch.no_grad():
        want = model(torch.tensor([ids])).logits[0].numpy()
    handle.remove()
    with gpt2edge.load(exported.path) as engine:
        got = engine.inside().run_with_edits(ids, {(site, layer): edits[site]})[0]
        assert np.abs(got - engine.logits(ids)).max() > 1e-2
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_statistics_of_tokens_are_those_of_torch(storyteller: Any) -> None:
    ids = draw(60, 4096, seed=5)
    found = token_statistics(storyteller, ids)
    logits = torch.tensor(storyteller.logits([storyteller.config.bos_token_id, *ids])).double()
    logprobs = torch.log_softmax(logits[:-1], -1)
    targets = torch.tensor(ids)
    chosen = logprobs[torch.arange(len(ids)), targets]
    means = (logprobs.exp() * logprobs).sum(-1)
    variances = (logprobs.exp() * logprobs**2).sum(-1) - means**2
    ranks = (logprobs > chosen[:, None]).sum(-1) + 1
    np.testing.assert_allclose(found.logprobs, chosen, atol=1e-6)
    np.testing.assert_allclose(found.means, means, atol=1e-6)
    np.testing.assert_allclose(found.variances, variances, atol=1e-6)
    assert found.ranks.tolist() == ranks.tolist()
