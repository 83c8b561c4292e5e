"""Detection scores: by their definitions, in their order, and never a verdict of their own."""

import numpy as np
import pytest

from gpt2edge import Engine, SamplingParams
from gpt2edge.errors import ArgumentError, InsideError
from gpt2edge.inside import (
    QuizResult,
    TokenStatistics,
    auc,
    binoculars,
    detection_scores,
    painted_page,
    percentiles,
    quiz_questions,
    token_statistics,
)
from tests.runtime.models import make_engine

STORY = (
    "Once upon a time there lived in a village a poor woman who had two sons. The elder went out "
    "into the forest every morning to gather wood, and the younger stayed at home by the fire, and "
    "neither of them had ever seen the king or his castle upon the hill."
)


def test_statistics_follow_the_begin_token(storyteller: Engine) -> None:
    found = token_statistics(storyteller, STORY)
    ids = storyteller.encode(STORY, add_special_tokens=False)
    assert found.token_ids.tolist() == ids
    assert "".join(found.texts) == STORY
    logits = storyteller.logits([storyteller.config.bos_token_id or 0, *ids])[:-1].astype(float)
    logprobs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    rows = np.arange(len(ids))
    np.testing.assert_allclose(found.logprobs, logprobs[rows, ids], atol=1e-6)
    assert found.logprobs.mean() == pytest.approx(-storyteller.perplexity(STORY).mean_nll, abs=1e-4)
    order = np.argsort(-logits, axis=1, kind="stable")
    assert [row.tolist().index(each) + 1 for row, each in zip(order, ids, strict=True)] == (
        found.ranks.tolist()
    )


def test_long_texts_are_read_in_windows(storyteller: Engine) -> None:
    done: list[tuple[int, int]] = []
    text = STORY * 20
    found = token_statistics(storyteller, text, progress=lambda *at: done.append(at))
    ids = storyteller.encode(text, add_special_tokens=False)
    assert len(ids) > 1000
    assert found.token_ids.tolist() == ids
    assert done[-1] == (len(ids), len(ids))
    assert len(done) > 2
    alone = token_statistics(storyteller, ids[:100])
    np.testing.assert_allclose(found.part(0, 100).logprobs, alone.logprobs, atol=0.05)


def statistics(logprobs: list[float], ranks: list[int]) -> TokenStatistics:
    count = len(ranks)
    return TokenStatistics(
        token_ids=np.arange(count),
        texts=("a",) * count,
        logprobs=np.array(logprobs),
        ranks=np.array(ranks),
        entropies=np.full(count, 2.0),
        means=np.full(count, -2.0),
        variances=np.full(count, 4.0),
    )


def test_scores_by_hand() -> None:
    found = detection_scores(statistics([-1.0, -3.0] * 50, [1, 200] * 50))
    assert found.tokens == 100
    assert found.likelihood == -2
    assert found.rank == -100.5
    assert found.logrank == pytest.approx(-np.log(200) / 2)
    assert found.lrr == pytest.approx(200 / (50 * np.log(200)))
    assert (found.gltr_10, found.gltr_100, found.gltr_1000) == (0.5, 0.5, 1)
    assert found.fast_detect_gpt == pytest.approx(0)
    likelier = detection_scores(statistics([-1.0] * 100, [1] * 100))
    assert likelier.fast_detect_gpt == pytest.approx(100 / 20)
    assert likelier.lrr == float("inf")


def test_short_texts_are_refused(storyteller: Engine) -> None:
    with pytest.raises(ValueError, match="at least 50"):
        detection_scores(token_statistics(storyteller, "Once upon a time"))


def test_a_place_among_people_needs_windows(storyteller: Engine) -> None:
    text = token_statistics(storyteller, STORY)
    reference = token_statistics(storyteller, STORY * 12)
    found = percentiles(text, reference)
    assert found.windows >= 10
    assert found.tokens == len(text)
    assert set(found.values) >= {"likelihood", "fast_detect_gpt"}
    assert all(0 <= value <= 1 for value in found.values.values())
    with pytest.raises(ValueError, match="give at least"):
        percentiles(text, text)


@pytest.mark.slow
def test_a_cut_tail_is_found_and_an_uncut_one_is_not(storyteller: Engine) -> None:
    """The model against itself: its whole distribution is the null, top-k 40 is the cut."""

    def scores(sampling: SamplingParams) -> list[float]:
        samples = storyteller.generate_batch(
            [STORY[:60]], n=40, max_new_tokens=96, sampling=sampling, seed=1
        )
        found = [
            token_statistics(storyteller, each.token_ids)
            for each in samples
            if len(each.token_ids) == 96
        ]
        return [detection_scores(each).fast_detect_gpt for each in found]

    whole = scores(SamplingParams(temperature=1, top_k=0, top_p=1))
    again = scores(SamplingParams(temperature=1, top_k=0, top_p=1, repetition_penalty=1))
    cut = scores(SamplingParams(temperature=1, top_k=40, top_p=1))
    assert auc(cut, whole) >= 0.97
    assert 0.3 <= auc(again, whole) <= 0.7


def test_auc() -> None:
    assert auc([2, 3], [0, 1]) == 1
    assert auc([1], [1]) == 0.5
    assert auc([0, 3], [1, 2]) == 0.5


def test_binoculars_by_its_definition(
    storyteller: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ids = storyteller.encode(STORY, add_special_tokens=False)
    found = binoculars(storyteller, storyteller, STORY)
    means = token_statistics(storyteller, ids)
    want = -means.logprobs.mean() / means.entropies.mean()  # cross-entropy with itself
    assert found == pytest.approx(want, abs=1e-9)
    other = make_engine(tmp_path_factory.mktemp("other"))
    with pytest.raises(InsideError, match="must have one tokenizer"):
        binoculars(storyteller, other, STORY)
    with pytest.raises(ArgumentError, match="tokens of the text is 1"):
        binoculars(storyteller, storyteller, "a")


def test_a_painted_page_is_safe_and_whole(storyteller: Engine) -> None:
    text = '<script>alert(1)</script> & "quotes" </p>\u2028 the end of it' * 4
    found = token_statistics(storyteller, text)
    page = painted_page(found, detection_scores(found).as_dict(), title="</title><b>")
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "&lt;/title&gt;" in page
    assert page.count("<mark ") == len(found) + 4
    assert "src=" not in page
    assert "href" not in page


def test_wilson() -> None:
    """Of 8 in 10: statsmodels' proportion_confint(8, 10, method="wilson")."""
    found = QuizResult.of(8, 10)
    assert found.share == 0.8
    assert found.low == pytest.approx(0.4901625, abs=1e-6)
    assert found.high == pytest.approx(0.9433178, abs=1e-6)
    assert QuizResult.of(0, 5).low == 0
    with pytest.raises(ArgumentError):
        QuizResult.of(3, 2)


def test_a_quiz_has_one_continuation_of_each(storyteller: Engine) -> None:
    text = "\n\n".join(f"{number}. {STORY}" for number in range(5))
    found = list(quiz_questions(storyteller, text, count=3, tokens=20, prompt_tokens=10))
    assert len(found) == 3
    for question in found:
        assert question.choices[question.human] in text
        assert question.choices[1 - question.human] not in text
        assert question.prompt in text
    again = list(quiz_questions(storyteller, text, count=3, tokens=20, prompt_tokens=10))
    assert again == found
    with pytest.raises(ValueError, match="and the quiz needs 9"):
        list(quiz_questions(storyteller, text, count=9))
