"""``generate``: text on stdout, settings over the model's own, JSON, prompts from anywhere."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from gpt2edge import Engine, ModelDir, SamplingParams
from gpt2edge.cli.display.completion_report import explain
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
    assert list(report) == [*expected.to_dict(), "settings"]
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
    args = ["generate", "-m", tiny_model.path, "-n", 6, "--temperature", 1, "--seed", 1, "hello"]
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
    args = ["generate", "-m", tiny_model.path, "-n", 40, "--temperature", 1, "--seed", 2, "hello"]
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
    assert (
        output_json("generate", "-m", sampling_model, "--temperature", 0, "hello")["seed"] is None
    )


def test_verbose_explains_the_settings_by_their_origin(sampling_model: Path) -> None:
    result = invoke("generate", "-m", sampling_model, "--top-k", 5, "--verbose", "hello")
    lines = dict(line.split(": ", 1) for line in result.stderr.splitlines()[:3])
    assert lines == {
        "by the model's config": "temperature 0.7, max_new_tokens 9",
        "by your options": "top_k 5",
        "at their defaults": "27 other settings, which --json lists",
    }
    rest = {re.split(r"\s{2,}", line)[0] for line in result.stderr.splitlines()[3:]}
    assert {"seed", "ended by", "loading", "first token", "each later token", "all"} == rest - {
        "prompt"
    }
    assert "temperature" not in result.stdout


@pytest.mark.parametrize(
    ("flags", "top_p"),
    [(["--top-k", 5], 0.95), (["--top-p", 0.9], 0.9), (["-s", 4], 0.95), (["--samples", 2], 0.95)],
)
def test_options_of_sampling_imply_that_it_samples(
    tiny_model: ModelDir, flags: list[object], top_p: float
) -> None:
    """The model's config is silent; a pipe and a terminal show the same."""
    args = ["generate", "-m", tiny_model.path, "-n", 2, *flags, "hello"]
    settings = output_json(*args)["settings"]
    assert (settings["temperature"], settings["top_p"]) == (0.8, top_p)
    stderr = invoke(*args, "-v").stderr
    implied = f"implied by {'--seed' if flags[0] == '-s' else flags[0]}: temperature 0.8"
    assert implied in stderr


def test_a_silent_model_samples_on_a_terminal(
    tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 3, "--no-echo", "-v", "hello"]
    assert "for a terminal" not in invoke(*args).stderr
    monkeypatch.setattr("gpt2edge.cli.display.completion.is_terminal", lambda _: True)
    assert "for a terminal: temperature 0.8, top_p 0.95" in invoke(*args).stderr
    assert "for a terminal" not in invoke(*args, "--temperature", 0).stderr
    assert "for a terminal" not in invoke(*args, "--num-beams", 2).stderr


def test_greedy_that_nobody_chose_is_told_to_a_person(
    tiny_model: ModelDir, sampling_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """stdout is a pipe, stderr a terminal."""
    monkeypatch.setattr(
        "gpt2edge.cli.display.completion.is_terminal", lambda stream: stream is sys.stderr
    )
    args = ["generate", "-n", 2, "hello", "-m"]
    assert invoke(*args, tiny_model.path).stderr.startswith("greedy: ")
    assert invoke(*args, tiny_model.path, "--temperature", 0).stderr == ""
    assert invoke(*args, tiny_model.path, "--seed", 0).stderr == ""
    assert invoke(*args, sampling_model).stderr == ""


def test_repeat_penalty_leaves_the_default_greedy(tiny_model: ModelDir) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 8, "--repetition-penalty", 1.5, "hello"]
    assert output_json(*args)["settings"]["temperature"] == 0


def test_several_greedy_sequences_are_refused(tiny_model: ModelDir) -> None:
    line = error("generate", "-m", tiny_model.path, "--samples", 2, "--temperature", 0, "hello")
    assert "pass --temperature" in line


def test_verbose_figures_by_hand() -> None:
    """Two completions: the slower one's seconds count, and the tokens of both."""

    def completion(index: int, tokens: int, ttft_s: float, decode_s: float) -> Completion:
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
            prompt="",
            text="",
            token_ids=ids,
            finish_reason="length",
            timing=timing,
            seed=4,
            index=index,
        )

    lines = explain([completion(0, 5, 0.5, 2.0), completion(1, 3, 0.25, 0.75)]).splitlines()
    assert dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines) == {
        "seed": "4; --seed 4 draws this again",
        "ended by": "the limit of new tokens (2)",
        "loading": "0.125 s",
        "prompt": "6 tokens, 2 of them known from a cache",
        "first token": "after 500.0 ms (TTFT)",
        "each later token": "500.00 ms (TPOT), 2.0 tokens/s",
        "guessed ahead": "7 tokens, 3 of them right",
        "all": "8 tokens in 2.500 s, 3.2 tokens/s",
    }


@pytest.fixture
def prompt_file(tmp_path: Path) -> Path:
    """Three prompts, one with an id."""
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "hello"}\n\n{"prompt": "a", "id": 7}\n{"prompt": "hello"}\n')
    return path


def test_prompts_of_a_file_are_completed_in_order(
    tiny_model: ModelDir, engine: Engine, prompt_file: Path
) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 5, "--prompts"]
    expected = engine.generate_batch(["hello", "a", "hello"], max_new_tokens=5)
    lines = list(map(json.loads, output(*args, prompt_file, "--json").splitlines()))
    assert [line["text"] for line in lines] == [completion.text for completion in expected]
    assert [line.get("id") for line in lines] == [None, 7, None]
    text = output(*args, "-", stdin=prompt_file.read_text())
    assert text == "".join(
        f"--- prompt {at} of 3 ---\n{completion.text}\n"
        for at, completion in enumerate(expected, 1)
    )
    assert "give either PROMPT or --prompts" in error(*args, prompt_file, "hello", code=2)


def test_samples_of_prompts_of_a_file(tiny_model: ModelDir, prompt_file: Path) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", 3, "--samples", 2, "--seed", 1]
    lines = list(map(json.loads, output(*args, "--prompts", prompt_file, "--json").splitlines()))
    assert [len(line["completions"]) for line in lines] == [2, 2, 2]
    text = output(*args, "--prompts", prompt_file)
    assert "--- prompt 2 of 3, sample 1 of 2 ---" in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[]", 'line 1: not a JSON object with a text "prompt"'),
        ("{", "not a JSON"),
        ("", "holds no"),
    ],
)
def test_a_bad_file_of_prompts(line: str, words: str, tiny_model: ModelDir, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(line)
    assert words in error("generate", "-m", tiny_model.path, "--prompts", path)


def test_prompt_from_a_file(tiny_model: ModelDir, tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_bytes(b"hello\r\n")
    args = ["generate", "-m", tiny_model.path, "-n", 3]
    assert output(*args, "-f", path) == output(*args, "hello")
    assert output(*args, "-f", "-", stdin="hello") == output(*args, "hello")
    assert "give either PROMPT or --file" in error(*args, "-f", path, "hello", code=2)


def test_until_the_end_of_the_context(tiny_model: ModelDir) -> None:
    args = ["generate", "-m", tiny_model.path, "-n", -1, "--ignore-eos"]
    report = output_json(*args, "hello")
    length = report["timing"]["prompt_tokens"] + len(report["token_ids"])
    assert (report["finish_reason"], length) == ("length", 128 + 1)
    time_limit = ["--overflow", "slide", "--max-time", 0.3]
    report = output_json(*args, *time_limit, "hello")
    assert (report["finish_reason"], report["truncated"]) == ("time", True)
    assert "a whole number from 1" in error("generate", "-m", tiny_model.path, "-n", -2, "hello")


def test_a_prompt_alone_is_generate(tiny_model: ModelDir) -> None:
    plain = output("generate", "-m", tiny_model.path, "-n", 3, "Hello there")
    assert output("Hello there", "-m", tiny_model.path, "-n", 3) == plain
    assert output("-m", tiny_model.path, "-n", 3, "Hello there") == plain
    assert output("-", "-m", tiny_model.path, "-n", 3, stdin="Hello there") == plain
