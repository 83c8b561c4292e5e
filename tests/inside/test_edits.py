"""Edits: what changes nothing changes no bit, and each edit is that of the oracle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2edge
from gpt2edge import Engine, ModelDir
from gpt2edge.errors import ArgumentError
from gpt2edge.inside import (
    Edit,
    Inside,
    LogitDiff,
    activation_patch,
    get_act_patch_attn_head_out_all_pos,
    get_act_patch_attn_out,
    get_act_patch_mlp_out,
    get_act_patch_resid_pre,
    importance,
)
from tests.inside.test_capture import RECIPES, draw, quantized

SITES = ("resid_pre", "resid_mid", "z", "q", "k", "v", "post", "attn_out", "mlp_out", "resid_post")
PROMPT = "Once upon a time there was a little"


@pytest.mark.parametrize("recipe", ["fp32", *RECIPES])
def test_edits_that_change_nothing_change_no_bit(
    small: ModelDir, recipe: str, tmp_path: Path
) -> None:
    model = quantized(small, tmp_path / "out", recipe)
    with gpt2edge.load(model.path) as engine:
        check_identity(engine, draw(33, 130))


def test_in_the_bundled_model_neither(storyteller: Engine) -> None:
    check_identity(storyteller, draw(33, 4096))


@pytest.mark.usefixtures("int8_cache")
def test_with_an_int8_cache_neither(small: ModelDir, tmp_path: Path) -> None:
    with gpt2edge.load(quantized(small, tmp_path / "out", "int8-cache").path) as engine:
        check_identity(engine, draw(33, 130))


def check_identity(engine: Engine, ids: list[int]) -> None:
    scope, want = engine.inside(), engine.logits(ids)
    _, cache = scope.run_with_cache(ids)
    layers = range(engine.config.n_layer)
    assert np.array_equal(scope.run_with_edits(ids, {})[0], want)
    for site in SITES:
        neutral = {(site, layer): Edit.add(0) for layer in layers}
        assert np.array_equal(scope.run_with_edits(ids, neutral)[0], want), site
        own = {(site, layer): Edit.replace(cache[site, layer]) for layer in layers}
        assert np.array_equal(scope.run_with_edits(ids, own)[0], want), site


def test_the_portable_profile_takes_edits(portable: ModelDir, small: ModelDir) -> None:
    ids = draw(20, 130)
    edits: dict[Any, Edit] = {
        ("z", 0): Edit.zero(head=1),
        ("resid_pre", 1): Edit.add(np.ones(48), positions=3),
        ("k", 1): Edit.scale(0.5, head=2),
    }
    with gpt2edge.load(portable.path) as other, gpt2edge.load(small.path) as engine:
        got = other.inside().run_with_edits(ids, edits)[0]
        want = engine.inside().run_with_edits(ids, edits)[0]
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_a_value_is_read_after_its_edit(scope: Inside) -> None:
    edits: dict[Any, Edit] = {("resid_pre", 2): Edit.add(np.full(256, 2.0), positions=[1])}
    _, plain = scope.run_with_cache(PROMPT, [("resid_pre", 2)])
    _, cache = scope.run_with_edits(PROMPT, edits, [("resid_pre", 2)])
    moved = cache["resid_pre", 2] - plain["resid_pre", 2]
    np.testing.assert_allclose(moved[1], 2, atol=1e-5)
    assert not moved[2:].any()


def test_a_head_that_is_zero_writes_nothing(scope: Inside) -> None:
    _, cache = scope.run_with_edits(PROMPT, {("z", 2): Edit.zero(head=1)}, ["z2", "attn_out2"])
    assert not cache["z", 2][:, 1].any()
    assert cache["z", 2][:, 0].all()
    _, other = scope.run_with_edits(PROMPT, {("post", 2): Edit.zero(neuron=7)}, ["post2"])
    assert not other["post", 2][:, 7].any()


def test_hooks_are_functions_between_runs(scope: Inside) -> None:
    """A later hook sees what an earlier one changed, whichever comes first in the list."""
    seen = []

    def late(value: Any, name: str) -> Any:
        seen.append((name, value.copy()))
        return value * 0.5

    def early(value: Any, name: str) -> Any:
        seen.append((name, value.copy()))
        value[1] += 1
        return value

    got = scope.run_with_hooks(PROMPT, [(("resid_pre", 4), late), ("resid_pre1", early)])
    assert [name for name, _ in seen] == ["blocks.1.hook_resid_pre", "blocks.4.hook_resid_pre"]
    edits: dict[Any, Edit] = {("resid_pre", 1): Edit.add(np.ones(256), positions=1)}
    _, cache = scope.run_with_edits(PROMPT, edits, ["resid_pre4"])
    assert np.array_equal(seen[1][1], cache["resid_pre", 4])
    want = scope.run_with_edits(PROMPT, {**edits, ("resid_pre", 4): Edit.scale(0.5)})[0]
    np.testing.assert_allclose(got, want, atol=1e-4)
    assert np.array_equal(
        scope.run_with_hooks(PROMPT, [("z0", lambda *_: None)]), scope.run_with_edits(PROMPT, {})[0]
    )


@pytest.mark.parametrize(
    ("name", "edit", "said"),
    [
        ("pattern0", Edit.zero(), "is derived and cannot be edited"),
        ("resid_pre0", Edit.zero(head=1), "this value has no heads"),
        ("z0", Edit.zero(head=4), "head is 4"),
        ("post0", Edit.zero(neuron=5000), "neuron is 5000"),
        ("resid_pre0", Edit.add(np.ones(3)), "has shape"),
        ("resid_pre0", Edit.add(1, positions=99), "positions is 99"),
    ],
)
def test_an_edit_that_does_not_fit_is_told(scope: Inside, name: str, edit: Edit, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        scope.run_with_edits(PROMPT, {name: edit})
    with pytest.raises(ArgumentError, match="not finite"):
        Edit.add([np.nan])


CLEAN, CORRUPTED = "The king had a little", "The girl had a little"
METRIC = LogitDiff(" boy", " girl")


def test_a_batched_sweep_is_one_patch_at_a_time(scope: Inside) -> None:
    _, cache = scope.run_with_cache(CLEAN, ["resid_pre", "z"])
    result = activation_patch(scope, CLEAN, CORRUPTED, METRIC)
    boy, girl = scope.token_id(" boy"), scope.token_id(" girl")
    for layer in range(6):
        for at in range(len(result.tokens)):
            edit = Edit.replace(cache["resid_pre", layer], positions=at)
            logits = scope.run_with_edits(CORRUPTED, {("resid_pre", layer): edit})[0][-1]
            assert abs(logits[boy] - logits[girl] - result.values[layer, at]) < 1e-4
    heads = get_act_patch_attn_head_out_all_pos(scope, CLEAN, CORRUPTED, METRIC)
    edit = Edit.replace(cache["z", 3][:, 1], head=1)
    logits = scope.run_with_edits(CORRUPTED, {("z", 3): edit})[0][-1]
    assert abs(logits[boy] - logits[girl] - heads.values[3, 1]) < 1e-4
    assert heads.values.shape == (6, 4)


def test_a_patch_of_everything_that_differs_restores_the_clean_run(scope: Inside) -> None:
    result = get_act_patch_resid_pre(scope, CLEAN, CORRUPTED, METRIC)
    assert result.normalized[0, 1] == pytest.approx(1)  # the one token in which they differ
    assert result.normalized[:, 0] == pytest.approx(0)  # before it nothing differs
    assert get_act_patch_attn_out(scope, CLEAN, CORRUPTED, METRIC).values.shape == (6, 5)
    same = get_act_patch_mlp_out(scope, CLEAN, CLEAN, METRIC)
    assert np.isnan(same.normalized).all()
    measured = activation_patch(scope, CLEAN, CORRUPTED, lambda logits: float(logits.max()))
    assert measured.clean > 0


def test_patching_needs_prompts_of_one_length(scope: Inside) -> None:
    with pytest.raises(ArgumentError, match="they must have as many"):
        activation_patch(scope, CLEAN, "The girl", METRIC)
    with pytest.raises(ArgumentError, match="over is 'head'"):
        activation_patch(scope, CLEAN, CORRUPTED, METRIC, over="head")
    with pytest.raises(ArgumentError, match="which is 2 tokens"):
        activation_patch(scope, CLEAN, CORRUPTED, LogitDiff(" boy girl", " girl"))


def test_importance_is_the_loss_without_a_token(scope: Inside) -> None:
    found = importance(scope, PROMPT)
    mean = scope.tensors.read("wte.weight").mean(axis=0)
    plain = scope.run_with_edits(PROMPT, {})[0][-1].astype(np.float64)
    edit = Edit.replace(mean, positions=-1)
    without = scope.run_with_edits(PROMPT, {"embed": edit})[0][-1].astype(np.float64)
    at = found.target_id
    lost = (plain[at] - np.logaddexp.reduce(plain)) - (without[at] - np.logaddexp.reduce(without))
    assert found.nats[-1] == pytest.approx(lost, abs=0.01)  # int8 products of other rows
    assert len(found.nats) == len(found.tokens)
    assert found.target == " girl"
