"""``generate``: text on stdout, settings over the model's own, JSON, prompts from anywhere."""

import json
import re
import shutil
from pathlib import Path

import pytest

from gpt2edge import Engine, ModelDir, SamplingParams
from gpt2edge.cli.commands.generate import _timing
from gpt2edge.model_dir import write_manifest
from gpt2edge.runtime.results import Completion, Timing
from tests.cli.running import error, invoke, output, output_json


@pytest.fixture(scope="module")
def engine(tiny_model: ModelDir) -> Engine:
    """The tiny model, to compare with."""
    return Engine(tiny_model.path)


@pytest.fixture(scope="module")
def sampling_model(tiny_model: ModelDir, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a generation_config that samples."""
    folder = tmp_path_factory.mktemp("sampling") / "model"
    shutil.copytree(tiny_model.path, folder)
    keys = {"do_sample": True, "temperature": 0.7, "top_k": 20, "max_new_tokens": 9}
    (folder / "generation_config.json").write_text(json.dumps(keys))
    write_manifest(folder, tiny_model.manifest)
    return folder


def test_text_goes_to_stdout_and_nothing_to_stderr(tiny_model: ModelDir, engine: Engine) -> None:
    result = invoke("generate", "-m", tiny_model.path, "-n", 12, "hello")
    assert result.stdout == engine.generate("hello", max_new_tokens=12).text + "\n"
    assert result.stderr == ""
    assert result.exit_code == 0


@pytest.mark.parametrize("option", ["--stream", "--no-stream"])
def test_streamed_and_whole_texts_agree(tiny_model: ModelDir, engine: Engine, option: str) -> None:
    sampling = SamplingParams(temperature=0.9, top_p=0.95, min_p=0.01, seed=3)
    expected = engine.generate("hello", max_new_tokens=60, sampling=sampling).text
    flags = ["--temperature", 0.9, "--top-p", 0.95, "--min-p", 0.01, "--seed", 3]
    text = output("generate", "-m", tiny_model.path, "-n", 60, *flags, option, "hello")
    assert text == expected + "\n"


def test_echo_prints_the_prompt_first(tiny_model: ModelDir) -> None:
    plain = output("generate", "-m", tiny_model.path, "-n", 5, "hello")
    assert output("generate", "-m", tiny_model.path, "-n", 5, "--echo", "hello") == "hello" + plain


@pytest.mark.parametrize(
    ("args", "stdin"),
    [(["-"], "hello\n"), ([], "hello\n"), ([], b"hello\r\n"), (["-"], "hello")],
)
def test_prompt_from_stdin_loses_one_newline(
    tiny_model: ModelDir, args: list[str], stdin: str | bytes
) -> None:
    given = output_json("generate", "-m", tiny_model.path, "-n", 3, "hello")
    piped = output_json("generate", "-m", tiny_model.path, "-n", 3, *args, stdin=stdin)
    assert piped["prompt"] == "hello"
    assert piped["token_ids"] == given["token_ids"]


def test_empty_prompt_starts_from_the_begin_of_text_token(tiny_model: ModelDir) -> None:
    report = output_json("generate", "-m", tiny_model.path, "-n", 3, "")
    assert report["timing"]["prompt_tokens"] == 1
    assert (
        output_json("generate", "-m", tiny_model.path, "-n", 3)["token_ids"]
        == (report["token_ids"])
    )


def test_json_object(tiny_model: ModelDir, engine: Engine) -> None:
    report = output_json("generate", "-m", tiny_model.path, "-n", 4, "--logprobs", 2, "hello")
    expected = engine.generate("hello", max_new_tokens=4, logprobs=2)
    assert list(report) == [
        "text",
        "token_ids",
        "finish_reason",
        "truncated",
        "score",
        "logprobs",
        "top_logprobs",
        "timing",
        "prompt",
        "seed",
        "settings",
    ]
    assert report["text"] == expected.text
    assert report["token_ids"] == list(expected.token_ids)
    assert report["finish_reason"] == "length"
    assert report["logprobs"] == list(expected.logprobs)
    assert [len(tops) for tops in report["top_logprobs"]] == [2, 2, 2, 2]
    assert set(report["top_logprobs"][0][0]) == {"token_id", "text", "logprob"}
    assert report["prompt"] == "hello"
    assert report["seed"] is None
    assert report["timing"]["completion_tokens"] == 4
    assert {"load_s", "ttft_s", "tpot_ms", "decode_tps"} < set(report["timing"])
    assert report["settings"]["temperature"] == 0
    assert report["settings"]["max_new_tokens"] == 4


def test_reported_seed_makes_the_same_text_again(tiny_model: ModelDir) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 20, "--temperature", 1, "hello"]
    first = output_json(*args)
    again = output_json(*args, "--seed", first["seed"])
    assert again["token_ids"] == first["token_ids"]


def test_several_sequences(tiny_model: ModelDir, engine: Engine) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 6, "--temp", 1, "--seed", 1, "hello"]
    args += ["--samples", 3]
    report = output_json(*args)
    texts = [completion["text"] for completion in report["completions"]]
    sampling = SamplingParams(temperature=1, seed=1)
    batch = engine.generate_batch(["hello"], n=3, max_new_tokens=6, sampling=sampling)
    assert texts == [completion.text for completion in batch]
    assert report["seed"] == 1
    plain = output(*args)
    assert all(f"--- {at} of 3 ---\n{text}\n" in plain for at, text in enumerate(texts, 1))


def test_logprobs_are_a_line_for_each_token(tiny_model: ModelDir) -> None:
    streamed = output("generate", "-m", tiny_model.path, "-n", 4, "--logprobs", 2, "hello")
    whole = output(
        "generate", "-m", tiny_model.path, "-n", 4, "--logprobs", 2, "--no-stream", "hello"
    )
    assert streamed == whole
    assert len(streamed.splitlines()) == 4
    assert all(float(line.split()[0]) <= 0 for line in streamed.splitlines())


def test_token_ids_without_a_tokenizer(token_model: ModelDir) -> None:
    args = ["generate", "-m", token_model.path, "-n", 5, "--token-ids", "1 2, 3"]
    report = output_json(*args)
    expected = Engine(token_model.path).generate([1, 2, 3], max_new_tokens=5)
    assert report["token_ids"] == list(expected.token_ids)
    ids = " ".join(map(str, expected.token_ids))
    assert output(*args, "--no-stream") == ids + "\n"
    assert output(*args).split() == ids.split()
    assert output(*args, "--echo").split() == ["1", "2", "3", *ids.split()]


def test_stop_strings_end_the_text(tiny_model: ModelDir) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 40, "--temp", 1, "--seed", 2, "hello"]
    text = output_json(*args)["text"]
    stop = text[5:7]
    report = output_json(*args, "--stop", stop, "--stop", "never there")
    assert report["text"] == text[: text.index(stop)]
    assert report["finish_reason"] == "stop"


def test_defaults_come_from_the_generation_config(sampling_model: Path) -> None:
    report = output_json("generate", "-m", sampling_model, "hello")
    assert report["settings"]["temperature"] == 0.7
    assert report["settings"]["top_k"] == 20
    assert len(report["token_ids"]) <= 9
    assert output_json("generate", "-m", sampling_model, "--temp", 0, "hello")["seed"] is None


def test_verbose_says_where_each_setting_came_from(sampling_model: Path) -> None:
    result = invoke("generate", "-m", sampling_model, "--top-k", 5, "--verbose", "hello")
    rows = {line.split()[0]: line.split()[1:] for line in result.stderr.splitlines()}
    assert rows["temperature"] == ["0.7", "generation_config.json"]
    assert rows["top_k"] == ["5", "flag"]
    assert rows["top_p"] == ["1.0", "default"]
    assert rows["max_new_tokens"] == ["9", "generation_config.json"]
    assert {"TTFT", "TPOT", "total", "load"} <= set(rows)
    assert "temperature" not in result.stdout


@pytest.mark.parametrize("flags", [["--top-k", 5], ["--top-p", 0.9], ["--min-p", 0.1], ["-s", 4]])
def test_options_of_sampling_imply_temperature_one(
    tiny_model: ModelDir, flags: list[object]
) -> None:
    result = invoke("generate", "-m", tiny_model.path, "-n", 2, *flags, "-v", "hello")
    row = next(line for line in result.stderr.splitlines() if line.startswith("temperature"))
    assert row.split()[1:4] == ["1.0", "implied", "by"]


def test_repeat_penalty_leaves_the_default_greedy(tiny_model: ModelDir) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 8, "--repeat-penalty", 1.5, "hello"]
    assert output_json(*args)["settings"]["temperature"] == 0


def test_several_greedy_sequences_are_refused(tiny_model: ModelDir) -> None:
    line = error("generate", "-m", tiny_model.path, "--samples", 2, "hello")
    assert "pass --temperature" in line


def test_verbose_figures_by_hand() -> None:
    """Two completions: the slower one's seconds count, and the tokens of both."""

    def completion(tokens: int, ttft_s: float, decode_s: float) -> Completion:
        timing = Timing(
            load_s=0.125,
            prompt_tokens=6,
            completion_tokens=tokens,
            ttft_s=ttft_s,
            decode_s=decode_s,
            reused_tokens=2,
            guessed_tokens=7,
            accepted_tokens=3,
        )
        ids = tuple(range(tokens))
        return Completion(
            prompt="", text="", token_ids=ids, finish_reason="length", timing=timing, seed=4
        )

    lines = _timing([completion(5, 0.5, 2.0), completion(3, 0.25, 0.75)]).splitlines()
    assert dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines) == {
        "seed": "4",
        "finish": "length, length",
        "load": "0.125 s",
        "prompt": "6 tokens, 2 of them known",
        "guesses": "3 of 7 right",
        "TTFT": "500.0 ms",
        "TPOT": "500.00 ms, 2.0 tokens/s",
        "total": "8 tokens in 2.500 s, 3.2 tokens/s",
    }
