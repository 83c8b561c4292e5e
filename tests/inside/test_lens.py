"""The logit lens, attribution, heads: invariants, and what is refused."""

from typing import Any

import numpy as np
import pytest

from gpt2edge import Engine
from gpt2edge.errors import ArgumentError, InsideError
from gpt2edge.inside import (
    Inside,
    Look,
    direct_logit_attribution,
    head_scores,
    logit_lens,
    logit_readout,
)

PROMPT = "Once upon a time there was a little"


def test_the_last_row_is_the_models_own_distribution(storyteller: Engine, scope: Inside) -> None:
    found = logit_lens(scope, PROMPT)
    logits = storyteller.logits(PROMPT).astype(np.float64)
    want = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    np.testing.assert_allclose(found.values[-1], want, atol=1e-5)
    assert found.labels == ("0_pre", "1_pre", "2_pre", "3_pre", "4_pre", "5_pre", "final_post")
    probs = np.exp(want)
    np.testing.assert_allclose(found.entropy[-1], -(probs * want).sum(1), atol=1e-4)
    assert found.kl[-1] == pytest.approx(0, abs=1e-6)
    assert np.all(found.kl[:-1].mean(1) > 0.1)
    ids = storyteller.encode(PROMPT)
    losses = -want[np.arange(len(ids) - 1), ids[1:]]
    assert found.cross_entropy()[-1] == pytest.approx(losses.mean(), abs=1e-4)


def test_what_is_chosen_is_a_part_of_the_whole(scope: Inside) -> None:
    whole = logit_lens(scope, PROMPT)
    girl = scope.token_id(" girl")
    some = logit_lens(scope, PROMPT, targets=[" girl", 5])
    np.testing.assert_allclose(some.values, whole.values[..., [girl, 5]], atol=1e-6)
    ranks = (whole.values > whole.values[..., [girl]]).sum(-1)
    assert some.rank_trajectory(girl) == ranks[:, -1].tolist()
    best = logit_lens(scope, PROMPT, top_k=3)
    assert best.values.shape == (7, 9, 3)
    order = np.sort(whole.values, axis=-1)[..., ::-1][..., :3]
    np.testing.assert_allclose(best.values, order, atol=1e-6)
    probs = logit_lens(scope, PROMPT, positions=-1, return_type="probs")
    np.testing.assert_allclose(probs.values.sum(-1), 1, atol=1e-5)
    assert probs.positions == (8,)
    assert np.isnan(probs.cross_entropy()).all()  # no token follows
    mids = logit_lens(scope, PROMPT, incl_mid=True, top_k=1)
    assert mids.labels[1] == "0_mid"
    assert logit_lens(scope, PROMPT, layers=[2, 6], top_k=1).labels == ("2_pre", "final_post")
    _, cache = scope.run_with_cache(PROMPT, ["resid_pre", ("resid_post", -1)])
    assert np.array_equal(logit_lens((scope, cache)).values, whole.values)
    assert best.as_dict()["labels"][0] == "0_pre"


def test_a_lens_is_applied_before_the_norm(scope: Inside) -> None:
    class Last:
        def transform(self, resid: Any, layer: int) -> Any:
            return np.roll(resid, layer, axis=-1)

    _, cache = scope.run_with_cache(PROMPT)
    found = logit_lens((scope, cache), lens=Last(), return_type="logits")
    want = scope.readout(np.roll(cache["resid_pre", 3], 3, axis=-1))
    assert np.array_equal(found.values[3], want)


def test_readout_of_vectors(scope: Inside) -> None:
    _, cache = scope.run_with_cache(PROMPT, ["resid_post5"])
    (((token, logprob), *_),) = logit_readout(scope, cache["resid_post", 5][-1])
    assert token == " girl"
    assert logprob == pytest.approx(np.log(0.060), abs=0.02)


def test_what_does_not_fit_is_told(scope: Inside) -> None:
    with pytest.raises(ArgumentError, match="prompt is needed"):
        logit_lens(scope)
    with pytest.raises(ArgumentError, match="return_type"):
        logit_lens(scope, PROMPT, return_type="odds")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="which was not given among the targets"):
        logit_lens(scope, PROMPT, top_k=1).rank_trajectory(3)
    with pytest.raises(ArgumentError, match="which is 2 tokens"):
        logit_lens(scope, PROMPT, targets=[" girl boy"])


@pytest.mark.parametrize("unit", ["component", "layer", "head", "neuron"])
def test_attributions_sum_to_the_logit(scope: Inside, unit: Any) -> None:
    found = direct_logit_attribution(scope, PROMPT, unit=unit)
    assert found.attribution.sum() + found.bias == pytest.approx(found.logit, abs=0.05)
    other = direct_logit_attribution(scope, PROMPT, " girl", " boy", unit=unit)
    assert other.attribution.sum() + other.bias == pytest.approx(other.logit, abs=0.05)
    assert len(found.labels) == len(found.attribution)
    assert scope.token(found.token_id) == " girl"
    assert found.top(1)[0][0] in found.labels


def test_in_float32_they_sum_closely(small: Any) -> None:
    import gpt2edge

    with gpt2edge.load(small.path) as engine:
        for unit in ("component", "head", "neuron"):
            found = direct_logit_attribution(engine.inside(), [3, 4, 5], unit=unit)
            assert found.attribution.sum() + found.bias == pytest.approx(found.logit, abs=1e-4)


def test_attributions_agree_over_units(scope: Inside) -> None:
    by_head = direct_logit_attribution(scope, PROMPT, unit="head")
    by_part = direct_logit_attribution(scope, PROMPT)
    heads = dict(zip(by_head.labels, by_head.attribution, strict=True))
    parts = dict(zip(by_part.labels, by_part.attribution, strict=True))
    of_two = sum(heads[f"L2H{head}"] for head in range(4)) + heads["2_attn_bias"]
    assert of_two == pytest.approx(parts["2_attn_out"], abs=1e-4)


def test_heads_that_look_back(scope: Inside) -> None:
    scores = head_scores(scope, "previous_token")
    assert scores.shape == (6, 4)
    assert scores.argmax() == 1  # L0H1
    assert scores.max() > 0.5
    assert head_scores(scope, "induction").max() < 0.1  # the bundled model has no such head
    ids = scope.encode(PROMPT)
    wanted = np.eye(len(ids), k=-1)
    np.testing.assert_allclose(
        head_scores(scope, wanted, PROMPT), head_scores(scope, "previous_token", PROMPT), atol=1e-6
    )
    _, cache = scope.run_with_cache(PROMPT, ["q", "k"])
    mean = np.diagonal(cache["pattern", 2][3], -1).mean()
    assert head_scores(scope, "previous_token", PROMPT)[2, 3] == pytest.approx(mean, abs=1e-6)
    with pytest.raises(ArgumentError, match="finds no token to look at"):
        head_scores(scope, "duplicate_token", "Once")
    with pytest.raises(ArgumentError, match="has shape"):
        head_scores(scope, np.eye(3), PROMPT)


def test_a_look_runs_the_prompt_once(scope: Inside) -> None:
    seen = Look(scope, PROMPT)
    report = seen.report(top=2, target=" girl")
    assert report.cells[-1][-1].tokens[0] == " girl"
    assert report.layers == ("embed", "0", "1", "2", "3", "4", "last")
    assert report.target_ranks[-1] == 0
    assert report.tied
    attended = seen.attended(0, 1)
    assert attended[3][0][0] == report.tokens[2]  # L0H1 looks at the token before
    found = seen.attribution(unit="component")
    want = direct_logit_attribution(scope, PROMPT)
    np.testing.assert_allclose(found.attribution, want.attribution, atol=1e-5)
    assert set(seen.heads()) == {"previous_token", "first_token", "duplicate_token", "induction"}


def test_a_classifier_has_no_lens(classifier: Any) -> None:
    import gpt2edge

    with gpt2edge.load(classifier) as engine, pytest.raises(InsideError, match="is a classifier"):
        Look(engine.inside(), [1, 2])
