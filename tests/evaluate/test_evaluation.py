"""A whole evaluation of two models; pooling; the forms of the results."""

import csv
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

import gpt2edge
from gpt2edge import ModelDir, RuntimeOptions
from gpt2edge.evaluate import (
    Evaluation,
    Questions,
    SpeedPlan,
    Spread,
    csv_table,
    evaluate,
    markdown_table,
    pool,
    svg_plot,
)
from gpt2edge.evaluate.table import caption, cells
from gpt2edge.quant import INT8, quantize
from tests.evaluate.texts import TEXT, evaluation, model, quality


@pytest.fixture(scope="module")
def measured(tiny_model: ModelDir, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """All that can be measured, of two models, once."""
    small = quantize(tiny_model, tmp_path_factory.mktemp("q") / "int8", recipe=INT8)
    questions = Questions(
        text=TEXT,
        text_name="text",
        context=32,
        passages=["the king slept", "the boat came"],
        pairs=[("the king slept", "king the slept"), ("a boat came", "boat a came")],
        speed=SpeedPlan(prefill=16, prompt=8, decode=4, repetitions=2),
    )
    options = RuntimeOptions(threads=1)
    return evaluate([tiny_model.path, small.path], questions, options=options)


def test_every_column_is_measured(measured: Evaluation, tiny_model: ModelDir) -> None:
    first, second = measured.models
    assert (first.name, second.name) == ("model", "int8")
    assert first.nbytes == tiny_model.nbytes > second.nbytes
    assert first.digest != second.digest
    for row in (first, second):
        assert row.quality is not None
        alone = gpt2edge.load(row.path).perplexity(TEXT, context=32)
        assert row.quality.perplexity.value == pytest.approx(alone.perplexity, rel=1e-4)
        assert row.lambada is not None
        assert row.blimp is not None
        for spread in (row.prefill_ts, row.decode_ts, row.first_token_ms):
            assert spread is not None
            assert 0 < spread.low <= spread.value <= spread.high
    assert (measured.prefill, measured.decode) == ("pp16", "tg4 @ d8")
    assert (measured.passages, measured.pairs, measured.stride) == (2, 2, 16)
    assert measured.machines[0].threads == 1


def test_what_is_written_is_read_again(measured: Evaluation) -> None:
    assert Evaluation.from_dict(json.loads(json.dumps(measured.to_dict()))) == measured
    values = measured.to_dict()
    values["models"][0]["blimp"]["standard_error"] = None  # as JSON has NaN
    (row, _) = Evaluation.from_dict(values).models
    assert row.blimp is not None
    assert math.isnan(row.blimp.standard_error)
    for broken in ({}, {**measured.to_dict(), "models": []}, {**measured.to_dict(), "machines": 1}):
        with pytest.raises(ValueError, match="no rows of evaluate"):
            Evaluation.from_dict(broken)


def test_names_are_paths_where_folders_are_called_alike(tiny_model: ModelDir) -> None:
    path = tiny_model.path
    found = evaluate([path, path], Questions(text=TEXT, context=16))
    assert [row.name for row in found.models] == [path.as_posix()] * 2
    (change,) = [row.quality.increase for row in found.models if row.quality][1:]
    assert change is not None
    assert (change.value, change.standard_error) == (0, 0)


def test_defaults_fit_a_small_context() -> None:
    names = [[test.name for test in SpeedPlan().tests(context)] for context in (1024, 128, 2)]
    assert names == [["pp512", "tg64 @ d128"], ["pp128", "tg63 @ d64"], ["pp2", "tg1 @ d1"]]


def test_pools_speeds_by_geometric_means() -> None:
    here = evaluation()
    there = replace(
        here,
        models=tuple(
            replace(row, decode_ts=Spread(100, 90, 2000), peak_rss_bytes=160_000_000)
            for row in here.models
        ),
        machines=(replace(here.machines[0], cpu="another"),),
    )
    both = pool([here, there])
    assert [machine.cpu for machine in both.machines] == ["a processor", "another"]
    first = both.models[0]
    assert first.decode_ts is not None
    assert first.decode_ts.value == pytest.approx((400 * 100) ** 0.5)
    assert (first.decode_ts.low, first.decode_ts.high) == (90, 2000)
    assert first.peak_rss_bytes == 160_000_000
    assert first.quality == here.models[0].quality
    assert pool([here]) == here
    assert "200 (90.0 to 2,000)" in markdown_table(both)


def test_pools_only_what_was_measured_alike() -> None:
    here = evaluation()
    with pytest.raises(ValueError, match="the models differ: fp32, int4 and fp32;"):
        pool([here, replace(here, models=here.models[:1])])
    with pytest.raises(ValueError, match="context is 512 in one evaluation and 64"):
        pool([here, replace(here, context=64)])
    with pytest.raises(ValueError, match="at least one"):
        pool([])


def test_cells_have_the_digits_of_their_errors() -> None:
    head, first, second = cells(evaluation())
    assert dict(zip(head, first, strict=True)) == {
        "model": "fp32",
        "size MB": "24.0",
        "perplexity": "50.00 ± 0.50",
        "increase %": "-",
        "KL nats": "-",
        "top-1 %": "-",
        "bits/byte": "5.0000",
        "prefill t/s": "4,000",
        "decode t/s": "400",
        "first token ms": "12.5",
        "peak MB": "150",
    }
    assert second[3:7] == ["+0.81 ± 0.12", "0.00520", "93.0", "5.0500"]


def test_markdown_has_a_rule_and_says_how_it_was_measured() -> None:
    lines = markdown_table(evaluation()).splitlines()
    assert lines[0].startswith("| model | size MB | perplexity |")
    assert lines[1].startswith("| --- | ---: |")
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert lines[-1] == (
        "On book.txt: 1,000 tokens, windows of 512 moved by 256; increase, KL and top-1 against "
        "fp32. Prefill of 512 tokens; first token and 64 more after a prompt of 128; medians of 5 "
        "turns. A processor, 2 threads, onnxruntime 1.24.0."
    )
    assert caption(replace(evaluation(), passages=5, pairs=2))[1] == (
        "5 passages and 2 minimal pairs"
    )


def test_csv_has_every_digit(measured: Evaluation) -> None:
    rows = list(csv.DictReader(csv_table(measured).splitlines()))
    for row, found in zip(rows, measured.models, strict=True):
        assert found.quality is not None
        assert float(row["perplexity"]) == found.quality.perplexity.value
        assert found.decode_ts is not None
        assert float(row["decode_ts_low"]) == found.decode_ts.low
    assert rows[0]["kl"] == ""
    assert float(rows[1]["kl_se"]) > 0


def shapes(svg: str, name: str) -> list[ElementTree.Element]:
    """Elements of a picture that must be XML."""
    found = ElementTree.fromstring(svg)
    return list(found.iter(f"{{http://www.w3.org/2000/svg}}{name}"))


def test_a_plot_has_a_point_and_a_name_for_each_model() -> None:
    svg = svg_plot(evaluation())
    points = [
        (float(each.get("cx", 0)), float(each.get("cy", 0))) for each in shapes(svg, "circle")
    ]
    (size_a, top_a), (size_b, top_b), (slow, _), (fast, _) = points
    assert size_b < size_a  # the quantized model is smaller,
    assert top_b < top_a  # has a higher perplexity,
    assert slow < fast  # and is faster
    words = [each.text for each in shapes(svg, "text")]
    assert words.count("fp32") == words.count("int4") == 2
    assert "Change in perplexity from fp32, %" in words
    fills = [each.get("fill") for each in shapes(svg, "circle")]
    assert "white" not in fills  # each is ahead in something


def test_a_model_that_is_beaten_is_hollow() -> None:
    good, bad = quality(50, None), quality(52, (0.04, 0.001))
    svg = svg_plot(evaluation(model("a<b", 10**7, good, 400), model("worse", 2 * 10**7, bad, 100)))
    assert [each.get("fill") == "white" for each in shapes(svg, "circle")] == [False, True] * 2
    assert "a<b" in [each.text for each in shapes(svg, "text")]


def test_names_do_not_cover_each_other() -> None:
    rows = [model("fp32", 24_000_000, quality(50, None), 400)]
    for number in range(5):
        change = quality(50.1, (0.001 + number * 1e-5, 0.0001))
        rows.append(model(f"variant {number}", 6_000_000 + 9000 * number, change, 1000 + number))
    svg = svg_plot(evaluation(*rows))
    names = re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>variant', svg)
    assert len(set(names)) == 10


def test_plots_of_other_kinds() -> None:
    alone = evaluation(model("fp32", 10**7, quality(50, None), 400))
    assert "Perplexity" in [each.text for each in shapes(svg_plot(alone), "text")]
    other = evaluation(*(model(name, 10**7, quality(50, None), 400) for name in "ab"))
    assert "Bits per byte" in [each.text for each in shapes(svg_plot(other), "text")]
    slow = replace(alone, models=(replace(alone.models[0], decode_ts=None),))
    assert len(shapes(svg_plot(slow), "circle")) == 1
    with pytest.raises(ValueError, match="a plot needs a text"):
        svg_plot(evaluation(model("fp32", 10**7, None, 400)))


def test_nothing_to_evaluate() -> None:
    with pytest.raises(ValueError, match="at least one"):
        evaluate([], Questions(text="a"))


def test_progress_is_told(tiny_model: ModelDir) -> None:
    told: list[str] = []
    questions = Questions(text=TEXT, context=16, passages=["the king slept"])
    evaluate([tiny_model.path], questions, progress=lambda stage, *_: told.append(stage))
    assert {"predicting the text", "lambada with model"} <= set(told)
