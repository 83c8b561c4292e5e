"""Values inside: TransformerLens' names, the oracle's values, the engine's logits to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2edge
from gpt2edge import Engine, ModelDir
from gpt2edge.errors import ArgumentError, EngineClosedError, FileFormatError, InsideError
from gpt2edge.export import export_checkpoint
from gpt2edge.inside import ActivationCache, Inside, hook_names, load_activations, save_activations
from gpt2edge.inside.hooks import chosen_names, full_name, stored_hooks
from gpt2edge.quant import INT4, INT4_DECODE, INT8, INT8_BLOCK, INT8_DECODE, QuantRecipe, quantize
from tests.checkpoints import SMALL, write_checkpoint
from tests.inside.oracle import values_inside

RECIPES = {recipe.name: recipe for recipe in (INT8_BLOCK, INT8, INT8_DECODE, INT4, INT4_DECODE)}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "head_dim_12": {"n_embd": 48},
    "inverse": {"scale_attn_by_inverse_layer_idx": True, "n_layer": 3},
    "unscaled": {"scale_attn_weights": False},
    "n_inner": {"n_inner": 40},
    "linear": {"activation_function": "linear"},
    "relu": {"activation_function": "relu"},
    "gelu": {"activation_function": "gelu"},
    "untied": {"tie_word_embeddings": False, "lm_head_bias": True},
    "tied_bias": {"lm_head_bias": True},
}


def draw(count: int, vocabulary: int, seed: int = 0) -> list[int]:
    found: list[int] = np.random.default_rng(seed).integers(0, vocabulary, count).tolist()
    return found


@pytest.mark.parametrize("profile", ["cpu", "portable"])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_value_is_that_of_the_oracle(name: str, profile: str, tmp_path: Path) -> None:
    keys = {**SMALL, **VARIANTS[name]}
    tensors = write_checkpoint(tmp_path / "hf", keys, seed=1)
    model = export_checkpoint(tmp_path / "hf", tmp_path / "onnx", profile=profile)
    ids = draw(40, keys["vocab_size"])
    want = values_inside(model.config, tensors, ids)
    with gpt2edge.load(model.path) as engine:
        logits, cache = engine.inside().run_with_cache(ids)
        assert set(cache) == set(want) - {"logits"} == set(hook_names(model.config.n_layer))
        for hook in cache:
            got = cache[hook]
            assert got.shape == want[hook].shape, hook
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, want[hook], atol=1e-4, rtol=1e-5, err_msg=hook)
        np.testing.assert_allclose(logits, want["logits"], atol=1e-4, rtol=1e-5)
        for layer in range(model.config.n_layer):
            np.testing.assert_allclose(cache["pattern", layer].sum(-1), 1, atol=1e-6)
            assert not np.triu(cache["pattern", layer], 1).any()


def quantized(small: ModelDir, out: Path, name: str) -> ModelDir:
    if name == "fp32":
        return small
    if name == "int8-cache":
        return quantize(small, out, recipe=replace(INT8_BLOCK, name=name, kv_cache="int8"))
    recipe: QuantRecipe = RECIPES[name]
    return quantize(small, out, recipe=recipe)


@pytest.mark.parametrize("tokens", [1, 33, 500])
@pytest.mark.parametrize("recipe", ["fp32", *RECIPES])
def test_logits_and_last_lens_are_the_engines_to_the_bit(
    small: ModelDir, recipe: str, tokens: int, tmp_path: Path
) -> None:
    check_bits(quantized(small, tmp_path / "out", recipe), tokens)


@pytest.mark.usefixtures("int8_cache")
@pytest.mark.parametrize("tokens", [1, 33, 500])
def test_an_int8_cache_too(small: ModelDir, tokens: int, tmp_path: Path) -> None:
    check_bits(quantized(small, tmp_path / "out", "int8-cache"), tokens)


def check_bits(model: ModelDir, tokens: int) -> None:
    ids = draw(tokens, model.config.vocab_size)
    with gpt2edge.load(model.path) as engine:
        scope = engine.inside()
        logits, cache = scope.run_with_cache(ids)
        want = engine.logits(ids)
        assert np.array_equal(logits, want)
        assert np.array_equal(scope.readout(cache["resid_post", -1]), want)


@pytest.mark.parametrize("tokens", [1, 33, 500])
def test_the_bundled_model_too(storyteller: Engine, tokens: int) -> None:
    ids = draw(tokens, 4096)
    logits, cache = storyteller.inside().run_with_cache(ids)
    want = storyteller.logits(ids)
    assert np.array_equal(logits, want)
    assert np.array_equal(storyteller.inside().readout(cache["resid_post", -1]), want)


@pytest.mark.usefixtures("int8_cache")
def test_with_an_int8_cache_keys_are_those_that_attention_reads(
    small: ModelDir, tmp_path: Path
) -> None:
    """z of the last token is its pattern over the values: only with the rounded keys is it so."""
    model = quantized(small, tmp_path / "out", "int8-cache")
    with gpt2edge.load(model.path) as engine:
        _, cache = engine.inside().run_with_cache(draw(60, 130), ["pattern", "q", "k", "v", "z"])
        mixed = np.einsum("hqk,khd->qhd", cache["pattern", 0], cache["v", 0])
    assert np.abs(mixed - cache["z", 0]).max() < 0.05 * np.abs(cache["z", 0]).max()


def test_the_portable_profile_computes_the_same(portable: ModelDir, small: ModelDir) -> None:
    ids = draw(300, 130)
    with gpt2edge.load(portable.path) as other, gpt2edge.load(small.path) as engine:
        logits, cache = other.inside().run_with_cache(ids)
        want, wanted = engine.inside().run_with_cache(ids)
        np.testing.assert_allclose(logits, want, atol=1e-4)
        np.testing.assert_allclose(logits, other.logits(ids), atol=1e-5)
        for name in wanted:
            np.testing.assert_allclose(cache[name], wanted[name], atol=1e-4, err_msg=name)


def test_names_in_the_graph_do_not_change(scope: Inside) -> None:
    """A value that is renamed at export breaks the folders that are there already."""
    hooks = stored_hooks(scope.config.n_layer)
    assert hooks["hook_embed"].value == "wte"
    assert hooks["hook_pos_embed"].value == "wpe"
    assert hooks["blocks.0.hook_resid_pre"].value == "embedding"
    assert {
        name: hooks[f"blocks.3.{name}"].value
        for name in (
            "hook_resid_pre",
            "attn.hook_q",
            "attn.hook_z",
            "hook_attn_out",
            "hook_resid_mid",
            "mlp.hook_pre",
            "mlp.hook_post",
            "hook_mlp_out",
            "hook_resid_post",
        )
    } == {
        "hook_resid_pre": "h.2/mlp/residual",
        "attn.hook_q": "h.3/attn/c_attn",
        "attn.hook_z": "h.3/attn",
        "hook_attn_out": "h.3/attn/c_proj",
        "hook_resid_mid": "h.3/attn/residual",
        "mlp.hook_pre": "h.3/mlp/c_fc",
        "mlp.hook_post": "h.3/mlp/act",
        "hook_mlp_out": "h.3/mlp/c_proj",
        "hook_resid_post": "h.3/mlp/residual",
    }


@pytest.mark.parametrize(
    ("given", "full"),
    [
        (("pattern", 3), "blocks.3.attn.hook_pattern"),
        (("attn", 3), "blocks.3.attn.hook_pattern"),
        ("q3", "blocks.3.attn.hook_q"),
        (("resid_post", -1), "blocks.5.hook_resid_post"),
        ("resid_post-1", "blocks.5.hook_resid_post"),
        (("scale1", 2), "blocks.2.ln1.hook_scale"),
        (("normalized2", 0), "blocks.0.ln2.hook_normalized"),
        ("embed", "hook_embed"),
        ("hook_pos_embed", "hook_pos_embed"),
        ("blocks.1.mlp.hook_post", "blocks.1.mlp.hook_post"),
    ],
)
def test_shorthands(given: Any, full: str) -> None:
    assert full_name(given, 6) == full


def test_filters() -> None:
    assert chosen_names(None, 2) == hook_names(2)
    assert chosen_names("pattern", 2) == (
        "blocks.0.attn.hook_pattern",
        "blocks.1.attn.hook_pattern",
    )
    assert chosen_names(["q1", ("embed")], 2) == ("hook_embed", "blocks.1.attn.hook_q")
    assert chosen_names(lambda name: name.endswith("_z"), 2) == (
        "blocks.0.attn.hook_z",
        "blocks.1.attn.hook_z",
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resid_pots", "near it: resid_post"),
        ("blocks.9.hook_resid_pre", "which no value inside has"),
        (("pattern", 9), "layer is 9"),
        (("nonsense", 0), "which no value inside has"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(scope: Inside, name: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        scope.run_with_cache("Once", [name])


def test_what_was_not_kept_is_no_key(scope: Inside) -> None:
    _, cache = scope.run_with_cache("Once", "resid_post")
    assert list(cache) == [f"blocks.{layer}.hook_resid_post" for layer in range(6)]
    assert ("q", 0) not in cache
    assert "nonsense" not in cache
    assert ("scale", 0) not in cache
    with pytest.raises(KeyError, match="give its name to names_filter"):
        _ = cache["pattern", 0]


def test_positions_cut_what_is_kept(scope: Inside) -> None:
    logits, whole = scope.run_with_cache("Once upon a time there was")
    some, cut = scope.run_with_cache("Once upon a time there was", positions=[1, -1])
    assert np.array_equal(some, logits[[1, -1]])
    assert cut.positions.tolist() == [1, len(whole.tokens) - 1]
    for name in ("resid_post", "z", "k", "v"):
        assert np.array_equal(cut[name, 2], whole[name, 2][[1, -1]])
    np.testing.assert_allclose(cut["result", 2], whole["result", 2][[1, -1]], atol=1e-5)
    np.testing.assert_allclose(cut["pattern", 2], whole["pattern", 2][:, [1, -1]], atol=1e-6)
    assert cut.nbytes < whole.nbytes / 2
    assert np.array_equal(cut.at(-1)["q", 1], whole["q", 1][-1:])
    with pytest.raises(ArgumentError, match="positions is 0"):
        cut.at(0)
    with pytest.raises(ArgumentError, match="positions is 99"):
        scope.run_with_cache("Once", positions=99)


def test_the_limit_names_the_bytes_and_the_remedy(scope: Inside) -> None:
    with pytest.raises(ArgumentError) as caught:
        scope.run_with_cache([1] * 512, max_bytes=1_000_000)
    message = str(caught.value)
    assert "all values of 512 tokens take" in message
    assert "names_filter=['resid_post']" in message
    _, cache = scope.run_with_cache([1] * 512, ["resid_post5"], max_bytes=1_000_000)
    assert cache.nbytes == 512 * 256 * 4


def test_stacks_add_up(scope: Inside) -> None:
    _, cache = scope.run_with_cache("Once upon a time there was a king")
    final = cache["resid_post", -1]
    parts, labels = cache.decompose_resid(return_labels=True)
    assert labels[:4] == ["embed", "pos_embed", "0_attn_out", "0_mlp_out"]
    np.testing.assert_allclose(parts.sum(0), final, atol=1e-4)
    heads, names = cache.stack_head_results(incl_remainder=True, return_labels=True)
    assert names[0] == "L0H0"
    assert names[-1] == "remainder"
    np.testing.assert_allclose(heads.sum(0), final, atol=1e-4)
    stack, layers = cache.accumulated_resid(incl_mid=True, return_labels=True)
    assert layers[:3] == ["0_pre", "0_mid", "1_pre"]
    assert layers[-1] == "final_post"
    assert np.array_equal(stack[-1], final)
    assert len(cache.accumulated_resid(2)) == 3
    assert len(cache.decompose_resid(2, mode="attn")) == 4
    neurons = cache.neuron_results(1, [3, 5])
    want = cache["post", 1][:, [3, 5], None] * scope.tensors.read("h.1.mlp.c_proj.weight")[[3, 5]]
    np.testing.assert_allclose(neurons, want, atol=1e-6)


def test_logit_attributions_sum_to_the_logit(scope: Inside) -> None:
    logits, cache = scope.run_with_cache("Once upon a time there was a king")
    best = logits.argmax(1)
    sums = cache.logit_attrs(cache.decompose_resid(), best).sum(0)
    bias = scope.tensors.unembedding(best) @ scope.tensors.read("ln_f.bias")
    np.testing.assert_allclose(sums + bias, logits.max(1), atol=0.05)  # int8 products
    difference = cache.logit_attrs(cache.decompose_resid(), best, 5).sum(0)
    other = cache.logit_attrs(cache.decompose_resid(), 5).sum(0)
    np.testing.assert_allclose(difference, sums - other, atol=1e-4)


def test_files_of_activations(scope: Inside, tmp_path: Path) -> None:
    _, cache = scope.run_with_cache("Once upon a time", ["pattern", "resid_post"], positions=[0, 2])
    save_activations(cache, tmp_path / "values.npz")
    found = load_activations(tmp_path / "values.npz")
    assert list(found) == list(cache)
    assert found.tokens == cache.tokens
    for name in cache:
        assert np.array_equal(found[name], cache[name])
    with np.load(tmp_path / "values.npz") as file:
        assert file["blocks.0.hook_resid_post"].shape == (2, 256)
    with pytest.raises(InsideError, match="needs the model's weights"):
        _ = found.tensors
    (tmp_path / "other.npz").write_bytes(b"PK nothing")
    with pytest.raises(FileFormatError, match="is not a file of activations"):
        load_activations(tmp_path / "other.npz")


def test_a_classifier_has_values_and_no_lens(classifier: Path) -> None:
    with gpt2edge.load(classifier) as engine:
        logits, cache = engine.inside().run_with_cache([1, 2, 3])
        assert np.array_equal(logits, engine.logits([1, 2, 3]))
        assert cache["pattern", 1].shape == (4, 3, 3)
        with pytest.raises(InsideError, match="is a classifier"):
            engine.inside().readout(cache["resid_post", -1])


def test_a_graph_of_another_maker_is_refused(small: ModelDir, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "other"
    shutil.copytree(small.path, folder)
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"h.1/attn/residual", b"h.1/attn/resi_ual"))
    engine = gpt2edge.load(folder, verify=False)
    with engine, pytest.raises(InsideError, match="not written by gpt2edge"):
        engine.inside()


def test_it_ends_with_the_engine(small: ModelDir) -> None:
    engine = gpt2edge.load(small.path)
    scope = engine.inside()
    assert scope is engine.inside()
    scope.run_with_cache([1, 2])
    engine.close()
    with pytest.raises(EngineClosedError):
        scope.run_with_cache([1, 2])
    with pytest.raises(EngineClosedError):
        engine.inside()


def test_tensors_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    keys = {**SMALL, "n_embd": 48, "tie_word_embeddings": False}
    tensors = write_checkpoint(tmp_path / "hf", keys, seed=1)
    model = export_checkpoint(tmp_path / "hf", tmp_path / "onnx")
    with gpt2edge.load(model.path) as engine:
        read = engine.inside().tensors
        for name in ("wte.weight", "wpe.weight", "h.1.mlp.c_proj.weight", "ln_f.bias"):
            assert np.array_equal(read.read(name), tensors[name])
        heads = read.head_outputs(1)  # [head, 12, n_embd], without the exporter's padding
        want = tensors["h.1.attn.c_proj.weight"].reshape(4, 12, 48)
        assert np.array_equal(heads, want)
        assert np.array_equal(read.unembedding(), tensors["lm_head.weight"])
        with pytest.raises(InsideError, match="no tensor 'nonsense'"):
            read.read("nonsense")


@pytest.mark.parametrize("recipe", RECIPES)
def test_rounded_tensors_are_near_the_checkpoints(
    small: ModelDir, recipe: str, tmp_path: Path
) -> None:
    rounded = quantize(small, tmp_path / "out", recipe=replace(RECIPES[recipe], equalize=False))
    with gpt2edge.load(small.path) as exact, gpt2edge.load(rounded.path) as engine:
        for name in ("wte.weight", "h.1.mlp.c_proj.weight", "h.0.attn.c_proj.weight"):
            want, got = exact.inside().tensors.read(name), engine.inside().tensors.read(name)
            if name.endswith("attn.c_proj.weight"):
                want, got = (each.inside().tensors.head_outputs(0) for each in (exact, engine))
            assert got.shape == want.shape
            assert np.linalg.norm(got - want) < 0.15 * np.linalg.norm(want)


def test_a_prompt_may_begin_with_the_begin_token(scope: Inside) -> None:
    _, cache = scope.run_with_cache("Once", "embed", prepend_bos=True)
    assert cache.token_ids[0] == scope.config.bos_token_id
    assert isinstance(cache, ActivationCache)
