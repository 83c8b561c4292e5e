"""Choices, cloze tests and neurons: by their definitions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2edge
from gpt2edge import Engine, ModelDir
from gpt2edge.errors import ArgumentError, FileFormatError, InsideError
from gpt2edge.inside import (
    ChoiceScores,
    Inside,
    NeuronIndex,
    choose,
    evaluate_choices,
    probe,
)
from gpt2edge.inside.choices import report
from tests.inside.test_capture import draw


def scores(choices: list[str], sums: list[float], alone: list[float] = []) -> ChoiceScores:  # noqa: B006
    return ChoiceScores(
        choices=tuple(choices),
        logprobs=tuple(sums),
        unconditional=tuple(alone),
        tokens=tuple(1 + len(choice) // 3 for choice in choices),
        greedy=(False,) * len(choices),
    )


def process_results(row: ChoiceScores, gold: int) -> dict[str, float]:
    """The lines of lm-eval 0.4's ``ConfigurableTask.process_results`` for multiple_choice."""
    lls = np.array(row.logprobs)
    completion_len = np.array([float(len(i)) for i in row.choices])
    byte_length = np.array([float(len(i.encode("utf-8"))) for i in row.choices])
    return {
        "acc": float(np.argmax(lls) == gold),
        "acc_norm": float(np.argmax(lls / completion_len) == gold),
        "acc_bytes": float(np.argmax(lls / byte_length) == gold),
        "acc_mutual_info": float(np.argmax(lls - np.array(row.unconditional)) == gold),
    }


def test_five_metrics_on_two_hundred_rows() -> None:
    rng = np.random.default_rng(0)
    words = [" ja", " na\u00efve", " \u4e2d\u6587\u5b57", " a long choice", " \U0001f600", " b"]
    rows, answers = [], []
    for _ in range(200):
        picked = [words[at] for at in rng.permutation(6)[:4]]
        rows.append(scores(picked, (-20 * rng.random(4)).tolist(), (-9 * rng.random(4)).tolist()))
        answers.append(int(rng.integers(4)))
    found = report(rows, answers).figures
    for metric in ("acc", "acc_norm", "acc_bytes", "acc_mutual_info"):
        each = [process_results(row, gold)[metric] for row, gold in zip(rows, answers, strict=True)]
        assert found[metric].value == pytest.approx(np.mean(each), abs=1e-12)
        assert found[metric].standard_error == pytest.approx(
            np.std(each, ddof=1) / np.sqrt(200), abs=1e-12
        )
    by_token = [row.best("acc_tokens") == gold for row, gold in zip(rows, answers, strict=True)]
    assert found["acc_tokens"].value == pytest.approx(np.mean(by_token), abs=1e-12)
    assert found["acc"].uniform == pytest.approx(0.25)
    assert found["acc"].commonest == np.bincount(answers).max() / 200
    probs = np.array([row.probs for row in rows])
    truth = np.eye(4)[answers]
    assert found["brier"].value == pytest.approx(((probs - truth) ** 2).sum(1).mean(), abs=1e-12)
    assert found["log_score"].value == pytest.approx(
        -np.log(probs[np.arange(200), answers]).mean(), abs=1e-12
    )
    assert found["brier"].uniform == pytest.approx(0.75)


def test_calibration_by_hand() -> None:
    rows = [scores(["a", "b"], [np.log(0.85), np.log(0.15)])] * 4
    assert report(rows, [0, 0, 0, 1]).ece == pytest.approx(0.1)
    assert report(rows, [0, 0, 0, 0]).ece == pytest.approx(0.15)


def test_choices_are_scored_as_the_engine_scores(storyteller: Engine) -> None:
    found = choose(storyteller, "Once upon a", [" time", " fish"], unconditional="So")
    want = [each.logprob for each in storyteller.score("Once upon a", [" time", " fish"])]
    assert list(found.logprobs) == want
    alone = [each.logprob for each in storyteller.score("So", [" time", " fish"])]
    assert list(found.unconditional) == alone
    assert found.best() == 0
    assert sum(found.probs) == pytest.approx(1)
    with pytest.raises(ArgumentError, match="choices has 1"):
        choose(storyteller, "a", [" b"])
    with pytest.raises(ArgumentError, match="metric is 'odd'"):
        found.best("odd")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "choices": ["b", "c"]}, "row 1 has no 'answer'"),
        ({"prompt": "a", "choices": ["b", "c"], "answer": 2}, "answer of row 1"),
        ({"prompt": "a", "choices": ["b", "c"], "answer": "d"}, "which is none of its choices"),
        ({"prompt": 1, "choices": ["b", "c"], "answer": 0}, "prompt of row 1"),
        ({"prompt": "a", "choices": "bc", "answer": 0}, "choices of row 1"),
    ],
)
def test_rows_that_are_wrong(storyteller: Engine, row: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        evaluate_choices(storyteller, [row])
    with pytest.raises(ArgumentError, match="rows is empty"):
        evaluate_choices(storyteller, [])


def test_cloze_rows(storyteller: Engine) -> None:
    found = probe(
        storyteller,
        [
            {
                "kind": "a",
                "prompt": "Once upon a",
                "expected": [" time"],
                "alternatives": [" fish"],
            },
            {"kind": "b", "prompt": "Once upon a", "expected": [" fish", " bottle"]},
            {
                "kind": "b",
                "sentence": "The king ___ his daughter.",
                "expected": ["loved"],
                "alternatives": ["table", "blue"],
            },
        ],
    )
    first, second, third = found.rows
    assert (first.rank, first.pairs_right, first.pairs) == (1, 1, 1)
    assert first.likeliest[0] == " time"
    logits = storyteller.logits("Once upon a")[-1]
    ids = [storyteller.encode(text)[0] for text in (" fish", " bottle")]
    assert second.rank == min(int((logits > logits[each]).sum()) + 1 for each in ids)
    assert second.pairs == 0
    nlls = [storyteller.perplexity(f"The king {word} his daughter.") for word in ("loved", "table")]
    assert nlls[0].mean_nll * nlls[0].tokens < nlls[1].mean_nll * nlls[1].tokens
    assert third.pairs_right == 2
    assert third.rank is None
    assert found.figures.mrr == pytest.approx((1 + 1 / (second.rank or 1)) / 2)
    assert found.kinds["a"].precision_1 == 1
    assert np.isnan(found.kinds["a"].pairwise) is np.False_ or found.kinds["a"].pairwise == 1
    with pytest.raises(ArgumentError, match="needs one ___"):
        probe(storyteller, [{"sentence": "none", "expected": ["a"], "alternatives": ["b"]}])
    with pytest.raises(ArgumentError, match="has no 'expected'"):
        probe(storyteller, [{"prompt": "a"}])


WINDOW, K = 32, 3


@pytest.fixture(scope="module")
def index(scope: Inside) -> NeuronIndex:
    return NeuronIndex.build(scope, [draw(32 * 12 + 5, 4096)], k=K, window=WINDOW)


def test_an_index_is_brute_force(scope: Inside, index: NeuronIndex) -> None:
    ids = draw(32 * 12 + 5, 4096)[: 32 * 12]
    layer = 2
    acts = np.stack(
        [
            scope.run_with_cache(ids[at : at + WINDOW], [("post", layer)])[1]["post", layer]
            for at in range(0, len(ids), WINDOW)
        ]
    )  # [window, token, neuron]
    for neuron in (0, 17, 300, 1023):
        best = acts[:, :, neuron].max(axis=1)
        order = np.argsort(-best, kind="stable")[:K]
        found = index.top(layer, neuron)
        assert [value for value, _ in found] == pytest.approx(best[order].tolist(), abs=0)
        where = acts[order, :, neuron].argmax(axis=1) + WINDOW * order
        assert [place for _, place in found] == where.tolist()
        mean, variance, fired = index.moments(layer, neuron)
        assert mean == pytest.approx(acts[..., neuron].mean(), abs=1e-5)
        assert variance == pytest.approx(acts[..., neuron].var(), abs=1e-4)
        assert fired == pytest.approx((acts[..., neuron] > 0).mean())


def test_an_index_goes_on_and_is_the_same(
    scope: Inside, index: NeuronIndex, tmp_path: Path
) -> None:
    ids = draw(32 * 12 + 5, 4096)
    half = NeuronIndex.build(scope, [ids[: 32 * 5]], k=K, window=WINDOW)
    half.save(tmp_path / "index")
    again = NeuronIndex.open(tmp_path / "index", scope)
    whole = NeuronIndex.build(scope, [ids], k=K, window=WINDOW, resume=again)
    whole.save(tmp_path / "index", overwrite=True)
    index.save(tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == (tmp_path / "index").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "other"]
    with pytest.raises(FileExistsError, match="exists: choose another name"):
        index.save(tmp_path / "other")
    with pytest.raises(InsideError, match="another model, window, k or corpus"):
        NeuronIndex.build(scope, [draw(400, 4096, seed=9)], k=K, window=WINDOW, resume=again)


def test_records_and_weights(scope: Inside, index: NeuronIndex) -> None:
    record = index.record(2, 300, count=2)
    excerpt = record.most_positive_activation_records[0]
    value, place = index.top(2, 300)[0]
    assert max(excerpt.activations) == pytest.approx(value)
    assert excerpt.activations[place % WINDOW] == pytest.approx(value)
    assert len(excerpt.tokens) == WINDOW
    assert len(record.random_sample) == 10
    assert record.as_dict()["neuron_index"] == 300
    weights = index.weights(2, 300)
    outputs = scope.tensors.unembedding() @ (
        scope.tensors.read("ln_f.weight") * scope.tensors.read("h.2.mlp.c_proj.weight")[300]
    )
    assert weights.positive_outputs[0][0] == scope.token(int(outputs.argmax()))
    assert weights.negative_outputs[0][1] == pytest.approx(float(outputs.min()), abs=1e-5)
    token = scope.token(int(draw(400, 4096)[place]))
    try:
        found = index.find(token)
    except ArgumentError:  # bytes that are no text
        return
    assert any(value > 0 for _, _, value, _ in found)


def test_an_index_is_of_one_model(
    scope: Inside, small: ModelDir, index: NeuronIndex, tmp_path: Path
) -> None:
    index.save(tmp_path / "index")
    engine = gpt2edge.load(small.path)
    with engine, pytest.raises(InsideError, match="is of another model"):
        NeuronIndex.open(tmp_path / "index", engine.inside())
    (tmp_path / "no").write_bytes(b"no")
    with pytest.raises(FileFormatError, match="is no index of neurons"):
        NeuronIndex.open(tmp_path / "no", scope)
    with pytest.raises(ValueError, match="fewer tokens than one window"):
        NeuronIndex.build(scope, ["Once"])
    with pytest.raises(ArgumentError, match="neuron is 9999"):
        index.top(0, 9999)
