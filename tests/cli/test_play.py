"""``gpt2edge play``: the story, its commands, what a turn costs, a session on a terminal."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import Engine, ModelDir, RuntimeOptions
from gpt2edge.cli.display.line_reader import LineReader
from gpt2edge.cli.display.story import Story
from gpt2edge.cli.options.sampling import EndFlags, SamplingFlags
from gpt2edge.cli.options.settings import resolve
from tests.cli.running import error, invoke, output

NO_FLAGS: dict[str, Any] = dict.fromkeys(SamplingFlags.__dataclass_fields__)
LISTS: dict[str, Any] = {"bad_word": (), "bad_words_ids": (), "logit_bias": ()}


@pytest.fixture(scope="module")
def engine(tiny_model: ModelDir) -> Engine:
    """The tiny model with a prompt cache."""
    return Engine(tiny_model.path, RuntimeOptions(prompt_cache_bytes=1 << 24))


@pytest.fixture
def story(engine: Engine) -> Story:
    """An empty story of short, seeded answers."""
    flags = SamplingFlags(**{**NO_FLAGS, **LISTS, "seed": 5, "temperature": 1.0})
    ending = EndFlags(max_new_tokens=6, min_new_tokens=6, stop=(), escape=False, ignore_eos=True)
    return Story(engine, resolve(flags, ending, engine))


def answered(story: Story) -> str:
    """Let the model answer, and return the answer."""
    story.accept(story.answer().finish()[0])
    return story.turns[-1].answer


def played(model: ModelDir, *lines: str, args: tuple[object, ...] = ()) -> tuple[str, str]:
    """stdout and stderr of a session of these lines."""
    result = invoke(
        "play",
        "-m",
        model.path,
        "-n",
        4,
        "--seed",
        1,
        *args,
        stdin="".join(f"{x}\n" for x in lines),
    )
    assert result.exit_code == 0, result.stderr
    return result.stdout, result.stderr


def test_a_turn_reads_only_what_is_new(story: Story) -> None:
    story.write("hello hello hello hello hello")
    answered(story)
    story.write("there")
    completion = story.answer().finish()[0]
    new = completion.timing.prompt_tokens - completion.timing.reused_tokens
    turn = story.turns[0]
    fresh = len(turn.answer_ids) + len(story.turns[1].written_ids)
    assert new <= fresh + 4  # the cache's prefix ends at a tile of four tokens
    assert new < completion.timing.prompt_tokens


def test_answers_are_those_of_the_whole_text(story: Story, engine: Engine) -> None:
    story.write("hello")
    answered(story)
    story.write("you")
    ids = [*story.turns[0].written_ids, *story.turns[0].answer_ids, *story.turns[1].written_ids]
    expected = engine.generate(
        ids, max_new_tokens=6, sampling=story.sampling, stop=story.stop, seed=5 + 1
    )
    assert answered(story) == expected.text
    assert story.text == f"hello{story.turns[0].answer}{story.turns[1].written}{expected.text}"


def test_a_fixed_seed_draws_anew_each_time_and_alike_in_each_session(story: Story) -> None:
    story.write("hello")
    texts = [answered(story) for _ in range(4)]
    assert len(set(texts)) > 1
    again = Story.__new__(Story)
    again.__dict__.update(story.__dict__, turns=[], _drawn=0)
    again.write("hello")
    assert [answered(again) for _ in range(4)] == texts


@pytest.mark.parametrize(
    ("before", "text", "joined"),
    [
        ("The king", "said", "The king said"),
        ("The king", ", who", "The king, who"),
        ("The king", "\nThe", "The king\nThe"),
        ("The king\n", "said", "The king\nsaid"),
        ("", "said", "said"),
        ("The king", "", "The king"),
    ],
)
def test_a_blank_goes_between_where_it_is_needed(
    before: str, text: str, joined: str, story: Story
) -> None:
    if before:
        story.write(before)
    story.write(text)
    assert story.text == joined


def test_a_stop_string_and_the_end_token_are_no_part_of_the_story(
    story: Story, engine: Engine
) -> None:
    story.write("hello")
    whole = answered(story)
    story.turns.clear()
    story._drawn = 0
    story.set("stop", whole[2:4])
    story.write("hello")
    answer = answered(story)
    assert answer == whole[: whole.index(whole[2:4])]
    assert engine.decode(story.turns[-1].answer_ids) == answer


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("temprature", "1", "did you mean temperature"),
        ("qqq", "1", "there are max_new_tokens"),
        ("temperature", "hot", "give a number"),
        ("temperature", "-1", "temperature is -1"),
        ("top_k", "1.5", "top_k is 1.5"),
        ("max_new_tokens", "0", "max_new_tokens is 0"),
    ],
)
def test_wrong_settings(name: str, value: str, words: str, story: Story) -> None:
    before = story.settings()
    with pytest.raises(ValueError, match=words):
        story.set(name, value)
    assert story.settings() == before


def test_settings_hold_from_then_on(story: Story) -> None:
    story.set("max_new_tokens", "3")
    story.set("temperature", "0")
    story.set("seed", "none")
    story.write("hello")
    stream = story.answer()
    assert len(stream.finish()[0].token_ids) == 3
    assert story.settings()["temperature"] == 0
    assert story.settings()["seed"] is None


def test_a_session(tiny_model: ModelDir, tmp_path: Path) -> None:
    path = tmp_path / "story.txt"
    out, err = played(
        tiny_model,
        "hello",
        "",
        "/set temperature 0.5",
        "/set",
        "/text",
        f"/save {path}",
        "/quit",
        "no",
    )
    assert err.startswith("Write a beginning")
    assert "temperature 0.5" in err
    assert "top_k" in err
    story = path.read_text(encoding="utf-8")
    assert story.startswith("hello")
    assert out.endswith(story)


def test_retry_undo_and_branch(tiny_model: ModelDir) -> None:
    out, err = played(tiny_model, "hello", "/branch 3", "2", "/text", "/retry", "/undo", "/text")
    assert [line[0] for line in err.splitlines() if line[:1] in "123"][:3] == ["1", "2", "3"]
    assert "the story is empty" in err
    assert out.endswith("\n\n")  # the text of an empty story


def test_mistakes_end_nothing(tiny_model: ModelDir, tmp_path: Path) -> None:
    lines = ["/rety", "/xyzzy", "/retry", "/undo", "/branch 1", "/save", "/set x", "/save /"]
    lines += ["/set stop zz", f"/save {tmp_path}/none/x", "hello", "/text"]
    out, err = played(tiny_model, *lines)
    for words in (
        "no command '/rety'; did you mean /retry?",
        "no command '/xyzzy'; /help lists",
        "there is no story yet",
        "write /save FILE",
        "write /set NAME VALUE",
        "No such file",
    ):
        assert words in err
    assert "hello" in out


def test_escapes_and_texts_that_begin_with_a_slash(tiny_model: ModelDir) -> None:
    out, _ = played(tiny_model, r"a\nb", "//c", "/text")
    assert "a\nb" in out
    assert "/c" in out


def test_edit_replaces_the_story(tiny_model: ModelDir, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def edit(text: str, **_: str) -> str:
        seen.append(text)
        return "another\n"

    monkeypatch.setattr("click.edit", edit)
    out, _ = played(tiny_model, "hello", "/edit", "/text")
    assert seen[0].startswith("hello")
    assert out.endswith("another\n")


def test_a_prompt_is_the_beginning(tiny_model: ModelDir) -> None:
    out, err = played(tiny_model, "/text", args=("hello", "-v"))
    assert "hello" in out.splitlines()[-1] or "hello" in out
    assert "tokens read and 0 known, 4 tokens written" in err
    assert "no tokenizer" not in err


def test_a_story_longer_than_the_context_goes_on(tiny_model: ModelDir) -> None:
    _, err = played(tiny_model, *["hello " * 40] * 4, args=("--ignore-eos",))
    assert "the beginning no longer fits" in err


def test_a_model_without_a_tokenizer_cannot_play(token_model: ModelDir) -> None:
    assert "has no tokenizer" in error("play", "-m", token_model.path, stdin="")


def test_a_silent_model_samples(tiny_model: ModelDir) -> None:
    text = output("play", "-m", tiny_model.path, "-n", 3, stdin="/set\n")
    assert text == ""
    listed = invoke("play", "-m", tiny_model.path, stdin="/set\n").stderr
    assert "temperature                   0.8" in listed
    assert "top_p                         0.95" in listed


def test_history_is_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("readline")
    import readline

    monkeypatch.setattr("gpt2edge.cli.display.line_reader.is_terminal", lambda _: True)
    monkeypatch.setattr("builtins.input", lambda _: "hello")
    reader = LineReader(tmp_path / "state" / "play_history")
    readline.clear_history()
    readline.add_history("hello")
    assert reader.read("> ") == "hello"
    reader.close()
    path = tmp_path / "state" / "play_history"
    assert path.read_text() == "hello\n"
    assert path.stat().st_mode & 0o077 == 0
    readline.clear_history()
    LineReader(path)
    assert readline.get_history_item(1) == "hello"
    readline.clear_history()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_stops_the_answer_and_not_the_session(tiny_model: ModelDir) -> None:
    command = [sys.executable, "-m", "gpt2edge", "play", "-m", str(tiny_model.path), "-n", "-1"]
    process = subprocess.Popen(
        [*command, "--ignore-eos"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"hello\n")
    assert process.stdout.read(1)  # the answer, which slides for ever, has begun
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(b"/text\n", timeout=60)
    assert process.returncode == 0
    assert b"hello" in out
