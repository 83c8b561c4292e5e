"""Steering, the affine lens and under-trained tokens."""

import pickle
from pathlib import Path

import numpy as np
import pytest

import gpt2edge
from gpt2edge import Engine, ModelDir
from gpt2edge.errors import ArgumentError, FileFormatError, InsideError
from gpt2edge.inside import (
    AffineLens,
    Edit,
    Inside,
    SteeringVector,
    logit_lens,
    steered,
    steering_vector,
    token_category,
    undertrained_tokens,
)
from tests.inside.test_capture import RECIPES, draw, quantized

SEA = ["The ship sailed over the waves.", "They rowed to the island in a little boat."]
LAND = ["The king rode through the wood.", "They walked to the palace in a little while."]


@pytest.mark.parametrize("recipe", ["fp32", *RECIPES])
@pytest.mark.parametrize(
    "name", [("resid_post", 0), ("resid_pre", 1), ("attn_out", 1), ("resid_mid", 0), ("mlp_out", 1)]
)
def test_a_steered_engine_computes_what_an_edit_does(
    small: ModelDir, recipe: str, name: tuple[str, int], tmp_path: Path
) -> None:
    model = quantized(small, tmp_path / "out", recipe)
    vector = np.random.default_rng(0).normal(size=48).astype(np.float32)
    ids = draw(20, 130)
    with gpt2edge.load(model.path) as engine:
        plain = engine.logits(ids)
        want = engine.inside().run_with_edits(ids, {name: Edit.add(2 * vector)})[0]
        with steered(engine, {name: vector}, 2.0) as other:  # type: ignore[dict-item]
            got = other.logits(ids)
    spread = np.abs(want - plain).max()
    assert spread > 0.1
    assert np.abs(got - want).max() < (1e-4 if recipe == "fp32" else 0.1 * spread)


def test_greedy_tokens_are_those_of_the_edit_step_by_step(small: ModelDir) -> None:
    vector = np.random.default_rng(1).normal(size=48).astype(np.float32)
    ids = draw(6, 130)
    with gpt2edge.load(small.path) as plain:
        with steered(plain, {"resid_post0": vector}, 3.0) as engine:
            done = engine.generate(ids, max_new_tokens=12, temperature=0)
        assert done.token_ids != plain.generate(ids, max_new_tokens=12, temperature=0).token_ids
        for token in done.token_ids:
            edits = {"resid_post0": Edit.add(3 * vector)}
            assert plain.inside().run_with_edits(ids, edits)[0][-1].argmax() == token
            ids = [*ids, token]


def test_vectors_are_mean_differences_and_go_through_files(scope: Inside, tmp_path: Path) -> None:
    vector = steering_vector(scope, SEA, LAND, ("resid_pre", 3))

    def mean(text: str) -> np.ndarray:
        _, cache = scope.run_with_cache(text, [("resid_pre", 3)], prepend_bos=True)
        return np.asarray(cache["resid_pre", 3][1:].mean(axis=0))

    want = np.mean([mean(text) for text in SEA], 0) - np.mean([mean(text) for text in LAND], 0)
    np.testing.assert_allclose(vector.vector, want, atol=1e-5)
    vector.save(tmp_path / "v.npz")
    found = SteeringVector.load(tmp_path / "v.npz")
    assert found.name == "blocks.3.hook_resid_pre"
    assert np.array_equal(found.vector, vector.vector)
    (tmp_path / "no.npz").write_bytes(b"no")
    with pytest.raises(FileFormatError, match="is no steering vector"):
        SteeringVector.load(tmp_path / "no.npz")


def test_steering_adds_up_and_survives_pickling(storyteller: Engine, scope: Inside) -> None:
    vector = steering_vector(scope, SEA, LAND, ("resid_post", 2))
    with steered(storyteller, vector) as once, steered(once, vector) as twice:
        want = scope.run_with_edits("Once", {vector.name: Edit.add(2 * vector.vector)})[0]
        np.testing.assert_allclose(twice.logits("Once"), want, atol=0.05)
        with pickle.loads(pickle.dumps(once)) as copy:
            assert np.array_equal(copy.logits("Once"), once.logits("Once"))


def test_what_cannot_be_steered_is_told(storyteller: Engine, scope: Inside) -> None:
    with pytest.raises(ArgumentError, match="no bias is added to"):
        steering_vector(scope, SEA, LAND, ("resid_pre", 0))
    with pytest.raises(ArgumentError, match="no bias is added to"):
        steered(storyteller, {"z0": np.zeros(256, np.float32)})
    with pytest.raises(InsideError, match="belongs to another model"):
        steered(storyteller, {"resid_post0": np.zeros(3, np.float32)})
    with pytest.raises(ArgumentError, match="negative is empty"):
        steering_vector(scope, SEA, [], ("resid_post", 0))


@pytest.mark.slow
def test_an_affine_lens_is_least_squares(scope: Inside, tmp_path: Path) -> None:
    """Against numpy's own solver, without the small ridge; and nearer than the logit lens."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 4096, 3000).tolist()
    lens = AffineLens.fit(scope, ids, tokens=2560)
    assert lens.tokens == 2560
    x, y = [], []
    for start in range(0, 2560, 256):
        cache = scope.read(ids[start : start + 256], ["resid_pre4", ("resid_post", -1)])
        x.append(cache["resid_pre", 4])
        y.append(cache["resid_post", -1])
    inputs = np.concatenate(x).astype(np.float64)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    outputs = np.concatenate(y).astype(np.float64)
    exact = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
    ours = np.linalg.norm(inputs @ lens.weights[4] - outputs)
    assert ours < 1.1 * np.linalg.norm(inputs @ exact - outputs)
    cache = scope.read(ids[2600:2900], ["resid_pre", ("resid_post", -1)])
    plain = logit_lens((scope, cache), top_k=1).kl_to_final()
    fitted = logit_lens((scope, cache), top_k=1, lens=lens).kl_to_final()
    assert np.all(fitted[:-1] < plain[:-1])
    lens.save(tmp_path / "lens.npz")
    assert np.array_equal(AffineLens.load(tmp_path / "lens.npz", scope).weights, lens.weights)


def test_a_lens_is_of_one_model(scope: Inside, small: ModelDir, tmp_path: Path) -> None:
    with gpt2edge.load(small.path) as engine:
        AffineLens.fit(engine.inside(), draw(200, 130), tokens=200).save(tmp_path / "l.npz")
    with pytest.raises(InsideError, match="was fitted on another model"):
        AffineLens.load(tmp_path / "l.npz", scope)
    with pytest.raises(ValueError, match="needs 512 or more"):
        AffineLens.fit(scope, [1, 2, 3])


def test_merges_that_later_merges_swallowed_come_first(storyteller: Engine) -> None:
    found = undertrained_tokens(storyteller, verify=False)
    texts = [each.text for each in found.candidates[:20]]
    assert {" underst", " occ", "ght"} <= set(texts)
    distances = [each.to_unused for each in found.candidates]
    assert distances == sorted(distances)
    assert len(found.candidates) == round(0.02 * found.categories["ok"])
    assert found.categories["unused byte"] == 13
    assert found.verifiable is None
    assert found.verified() == []


@pytest.mark.slow
def test_a_model_that_does_not_repeat_verifies_nothing(storyteller: Engine) -> None:
    done: list[tuple[int, int]] = []
    found = undertrained_tokens(storyteller, share=0.0005, progress=lambda *at: done.append(at))
    assert found.verifiable is False
    assert found.control is not None
    assert found.control < 0.1
    assert found.verified() == []
    assert done[-1] == (102, 102)
    assert found.candidates[0].probability is not None


def test_categories(storyteller: Engine, token_model: ModelDir) -> None:
    tokenizer = storyteller.tokenizer
    assert tokenizer is not None
    assert token_category(tokenizer, storyteller.encode(" the")[0]) == "ok"
    assert token_category(tokenizer, storyteller.config.bos_token_id or 0) == "special"
    with gpt2edge.load(token_model.path) as engine, pytest.raises(ValueError, match="no tokenizer"):
        undertrained_tokens(engine)
