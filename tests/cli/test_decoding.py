"""Beams, penalties, bans, deadlines and the end of the context, from the command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, ModelDir, SamplingParams
from gpt2edge.model_dir import write_manifest
from tests.cli.running import error, invoke, output, output_json

PROMPT = "hello hello"


@pytest.fixture(scope="module")
def engine(tiny_model: ModelDir) -> Engine:
    """The tiny model, to compare with."""
    return Engine(tiny_model.path)


UNCHOSEN = {"temperature": 0.8, "top_p": 0.95}


def with_config(model: ModelDir, folder: Path, keys: dict[str, Any]) -> Path:
    """A copy of the model with this generation_config."""
    shutil.copytree(model.path, folder)
    (folder / "generation_config.json").write_text(json.dumps(keys))
    write_manifest(folder, model.manifest)
    return folder


@pytest.mark.parametrize(
    ("flags", "params"),
    [
        (["--typical-p", 0.5, "--seed", 1], {**UNCHOSEN, "typical_p": 0.5, "seed": 1}),
        (["--presence-penalty", 3], {"presence_penalty": 3.0}),
        (["--frequency-penalty", 1.5], {"frequency_penalty": 1.5}),
        (["--no-repeat-ngram-size", 1], {"no_repeat_ngram_size": 1}),
        (["--bad-words-ids", "5 6", "--bad-words-ids", "7"], {"bad_words_ids": [[5, 6], [7]]}),
        (["-l", "9+30", "-l", "3-inf"], {"logit_bias": {9: 30.0, 3: float("-inf")}}),
        (["--num-beams", 3, "--length-penalty", 0.5], {"num_beams": 3, "length_penalty": 0.5}),
        (
            ["--num-beams", 2, "--early-stopping", "never"],
            {"num_beams": 2, "early_stopping": "never"},
        ),
    ],
)
def test_flags_are_the_parameters_of_their_names(
    tiny_model: ModelDir, engine: Engine, flags: list[object], params: dict[str, Any]
) -> None:
    report = output_json("generate", "-m", tiny_model.path, "-n", 20, *flags, PROMPT)
    sampling = SamplingParams(**{"temperature": 0.0, **params})
    expected = engine.generate(PROMPT, max_new_tokens=20, sampling=sampling)
    assert report["token_ids"] == list(expected.token_ids)
    assert report["score"] == expected.score


def test_a_bad_word_is_not_written(tiny_model: ModelDir, engine: Engine) -> None:
    plain = output_json("generate", "-m", tiny_model.path, "-n", 20, PROMPT)["token_ids"]
    word = engine.tokenizer.decode(plain[:2]) if engine.tokenizer else ""
    banned = engine.encode(word)
    found = output_json("generate", "-m", tiny_model.path, "-n", 20, "--bad-word", word, PROMPT)
    assert banned == plain[:2]
    assert found["token_ids"][:2] != banned


def test_n_best_beams_are_shown_best_first(tiny_model: ModelDir) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 8, "--num-beams", 4, PROMPT]
    best = output_json(*args)
    ranked = output_json(*args, "--samples", 4)["completions"]
    assert best["token_ids"] == ranked[0]["token_ids"]
    scores = [completion["score"] for completion in ranked]
    assert scores == sorted(scores, reverse=True)
    assert len({tuple(completion["token_ids"]) for completion in ranked}) == 4
    assert output(*args) == best["text"] + "\n"


def test_beams_lay_the_model_s_own_sampling_aside_and_say_so(
    tiny_model: ModelDir, tmp_path: Path
) -> None:
    keys = {"do_sample": True, "temperature": 0.7, "top_k": 20, "repetition_penalty": 1.2}
    model = with_config(tiny_model, tmp_path / "model", keys)
    result = invoke("generate", "-m", model, "-n", 4, "--num-beams", 2, "--verbose", PROMPT)
    assert result.stderr.splitlines()[:3] == [
        "implied by --num-beams: temperature 0.0, top_k 0",
        "by the model's config: repetition_penalty 1.2",
        "by your options: num_beams 2, max_new_tokens 4",
    ]
    assert "temperature is 0.5: beam search does not sample" in error(
        "generate", "-m", model, "--num-beams", 2, "--temperature", 0.5, PROMPT
    )


def test_beams_of_the_model_s_own_config(tiny_model: ModelDir, tmp_path: Path) -> None:
    keys = {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True}
    model = with_config(tiny_model, tmp_path / "model", keys)
    expected = output_json(
        *["generate", "-m", tiny_model.path, "-n", 8, "--num-beams", 3, "--length-penalty", 2],
        *["--early-stopping", "true", PROMPT],
    )
    found = output_json("generate", "-m", model, "-n", 8, PROMPT)
    assert found["token_ids"] == expected["token_ids"]
    assert found["settings"]["num_beams"] == 3


def test_past_the_context(tiny_model: ModelDir) -> None:
    long = ["generate", "-m", tiny_model.path, "--ignore-eos", "-n", 300]
    assert "choose the overflow policy truncate-left or slide" in error(*long, PROMPT)
    slid = output_json(*long, "--overflow", "slide", "--keep", 2, PROMPT)
    assert (len(slid["token_ids"]), slid["truncated"]) == (300, True)
    assert slid["settings"]["overflow"] == "slide"
    cut = ["generate", "-m", tiny_model.path, "-n", 3, "--overflow", "truncate-left"]
    assert output_json(*cut, "lo " * 200)["truncated"]
    assert "older tokens were dropped" in invoke(*cut, "--verbose", "lo " * 200).stderr
    assert not output_json(*cut, PROMPT)["truncated"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-beams", 0], "--num-beams is 0"),
        (["--num-beams", 2, "--samples", 3], "--samples is 3"),
        (["--keep", -1], "keep is -1"),
        (["--max-time", 0], "--max-time is 0"),
        (["--bad-word", ""], "--bad-word is empty"),
        (["--bad-words-ids", "a"], "'a' is not a token id"),
        (["--bad-words-ids", ""], "--bad-words-ids is [[]]"),
        (["--bad-words-ids", "512"], "token id 512 is outside"),
        (["-l", "13"], "--logit-bias is '13'"),
        (["-l", "13+x"], "--logit-bias is '13+x'"),
        (["-l", "512+1"], "token id 512 is outside"),
        (["--typical-p", 0], "--typical-p is 0"),
    ],
)
def test_values_out_of_range_are_one_line(
    tiny_model: ModelDir, flags: list[object], message: str
) -> None:
    assert message in error("generate", "-m", tiny_model.path, *flags, PROMPT)


def test_escapes_are_read_where_that_is_asked_for(tiny_model: ModelDir) -> None:
    def settings(*flags: str) -> dict[str, Any]:
        report = output_json("generate", "-m", tiny_model.path, "a", "-n", 2, *flags)
        value: dict[str, Any] = report["settings"]
        return value

    written = ("--stop", r"\n\n", "--stop", r"\t\\n\x")
    assert settings(*written)["stop"] == [r"\n\n", r"\t\\n\x"]
    assert settings(*written, "--escape")["stop"] == ["\n\n", "\t\\n\\x"]
    (banned,) = settings("--bad-word", r"\n", "--escape")["bad_words_ids"]
    (pieces,) = [output_json("tokenize", "-m", tiny_model.path, "\n")["token_ids"]]
    assert banned == pieces
