"""``llm -m gpt2edge``, with the real package.

Needs packages of its own: ``pip install '.[export,llm]' pytest``, then
``pytest -m interop tests/plugins/test_llm.py``. Run with llm 0.27,
0.31.1, 0.32 and 0.36.
"""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import gpt2edge
from gpt2edge import SamplingParams

llm = pytest.importorskip("llm", reason="interop: needs llm")
pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for llm's settings and log."""
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("GPT2EDGE_STORE", str(tmp_path / "store"))
    return tmp_path


def run(*args: object) -> Any:
    from llm.cli import cli

    return CliRunner().invoke(cli, [str(arg) for arg in args])


def test_the_model_is_found_by_its_entry_point() -> None:
    assert "gpt2edge" in {model.model_id for model in llm.get_models()}
    plugins = json.loads(run("plugins").output)
    assert "gpt2edge" in {plugin["name"] for plugin in plugins}


def test_a_prompt_is_completed_as_the_engine_does() -> None:
    result = run("-m", "gpt2edge", "-o", "seed", 7, "-o", "max_new_tokens", 12, "The wolf")
    assert result.exit_code == 0, result.output
    engine = gpt2edge.load()
    values = {
        name: getattr(engine.defaults.sampling, name)
        for name in SamplingParams.__dataclass_fields__
    }
    sampling = SamplingParams(**{**values, "seed": 7})
    expected = engine.generate("The wolf", max_new_tokens=12, sampling=sampling)
    assert result.output == expected.text + "\n"
    whole = run(
        *["-m", "gpt2edge", "-o", "seed", 7, "-o", "max_new_tokens", 12],
        *["--no-stream", "--usage", "The wolf"],
    )
    assert expected.text in whole.output
    assert "12 output" in whole.output
    logged = json.loads(run("logs", "--json", "-n", 1).output)[0]
    assert logged["response_json"]["finish_reason"] == "length"
    assert logged["output_tokens"] == 12


def test_a_conversation_goes_on_with_the_text() -> None:
    model = llm.get_model("gpt2edge")
    talk = model.conversation()
    options = {"temperature": 0.0, "max_new_tokens": 8}
    first = talk.prompt("The king said", **options).text()
    second = talk.prompt(" And then", **options).text()
    engine = gpt2edge.load()
    sampling = SamplingParams(temperature=0.0, repetition_penalty=1.1)
    assert engine.defaults.sampling.repetition_penalty == 1.1
    both = f"The king said{first} And then"
    assert second == engine.generate(both, max_new_tokens=8, sampling=sampling).text

    async def awaited() -> str:
        response = llm.get_async_model("gpt2edge").prompt("The king said", **options)
        return str(await response.text())

    assert asyncio.run(awaited()) == first


GREEDY = {"temperature": 0.0, "max_new_tokens": 8}
FLAGS = ["-o", "temperature", "0", "-o", "max_new_tokens", "8"]
needs_messages = pytest.mark.skipif(
    not hasattr(llm.Prompt, "messages"), reason="messages came with llm 0.32"
)


def continued(text: str) -> str:
    """What the engine writes after ``text``: the oracle of every conversation."""
    sampling = SamplingParams(temperature=0.0, repetition_penalty=1.1)
    return gpt2edge.load().generate(text, max_new_tokens=8, sampling=sampling).text


def test_a_conversation_goes_on_in_other_processes() -> None:
    said = "The king said"
    for place, new in enumerate((said, " And then", " So the fox")):
        command = [sys.executable, "-m", "llm", "-m", "gpt2edge", *FLAGS]
        command += ["-c", new] if place else [new]
        text = said + new if place else said
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (0, continued(text) + "\n"), result.stderr
        said = text + continued(text)


@needs_messages
def test_a_reply_and_a_list_of_messages_are_the_whole_text() -> None:
    model = llm.get_model("gpt2edge")
    first = model.prompt("The king said", **GREEDY)
    whole = f"The king said{first.text()} And then"
    assert first.reply(" And then", **GREEDY).text() == continued(whole)
    again = first.reply(" And then", **GREEDY).reply(" so", **GREEDY).text()
    assert again == continued(f"{whole}{continued(whole)} so")
    messages = [llm.user("The ", "king"), llm.assistant(" said"), llm.user(" And then")]
    assert model.prompt(messages=messages, **GREEDY).text() == continued("The king said And then")
    more = model.prompt(" he", messages=messages, **GREEDY).text()
    assert more == continued("The king said And then he")
    unstreamed = model.prompt(messages=messages, stream=False, **GREEDY).text()
    assert unstreamed == continued("The king said And then")


@needs_messages
def test_awaited_conversations_are_the_whole_text() -> None:
    async def awaited() -> list[str]:
        model = llm.get_async_model("gpt2edge")
        first = model.prompt("The king said", **GREEDY)
        talk = model.conversation()
        replies = [
            await first.text(),
            await (await first.reply(" And then", **GREEDY)).text(),
            await talk.prompt("The king said", **GREEDY).text(),
            await talk.prompt(" And then", **GREEDY).text(),
        ]
        return [str(text) for text in replies]

    first = continued("The king said")
    second = continued(f"The king said{first} And then")
    assert asyncio.run(awaited()) == [first, second] * 2


@needs_messages
def test_what_is_no_text_is_refused() -> None:
    from llm.parts import ReasoningPart, ToolCallPart, ToolResultPart

    model = llm.get_model("gpt2edge")
    image = llm.Attachment(type="image/png", content=b"png")
    for message, reason in (
        (llm.system("be kind"), "system prompt"),
        (llm.user("Look", image), "attachment parts"),
        (llm.tool_message(ToolResultPart(name="clock", output="9")), "tool messages"),
        (llm.assistant(ToolCallPart(name="clock")), "tool call parts"),
        (llm.assistant(ReasoningPart(text="hm")), "reasoning parts"),
    ):
        with pytest.raises(llm.ModelError) as caught:
            model.prompt("The fox", messages=[message], **GREEDY).text()
        assert str(caught.value) == (
            f"gpt2edge completes text and supports no {reason}: send only text"
        )


def test_options_of_llm_that_are_no_text_are_refused_in_a_line(home: Path) -> None:
    (home / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for flags, reason in (
        (["--system", "be kind"], "no system prompt"),
        (["-a", home / "picture.png"], "attachments"),
        (["--tool", "llm_version"], "not support tools"),
        (["--schema", '{"type": "object"}'], "not support schemas"),
    ):
        result = run("-m", "gpt2edge", *FLAGS, *flags, "The fox")
        assert result.exit_code == 1
        assert reason in result.output
        assert result.output.strip().count("\n") == 0, result.output


def test_models_of_the_store_are_models_of_llm(home: Path) -> None:
    from gpt2edge.runtime.bundled import BUNDLED_MODEL

    shutil.copytree(BUNDLED_MODEL, home / "store" / "me--tales" / "int8")
    assert "gpt2edge/me/tales:int8" in {model.model_id for model in llm.get_models()}
    result = run("-m", "gpt2edge/me/tales:int8", "-o", "temperature", 0, "-n", "The wolf")
    greedy = run("-m", "gpt2edge", "-o", "temperature", 0, "The wolf")
    assert (result.exit_code, result.output) == (0, greedy.output)


def test_beams_and_mistakes() -> None:
    result = run("-m", "gpt2edge", "-o", "num_beams", 3, "-o", "max_new_tokens", 6, "The fox")
    beams = SamplingParams(num_beams=3)
    expected = gpt2edge.load().generate("The fox", max_new_tokens=6, sampling=beams)
    assert result.output == expected.text + "\n"
    for flags, message in (
        (["-o", "temperature", "hot"], "temperature"),
        (["-o", "top_p", 2], "top_p is 2.0"),
        (["-o", "model", "nowhere"], "nowhere"),
        (["--system", "be kind"], "no system prompt"),
    ):
        result = run("-m", "gpt2edge", *flags, "The fox")
        assert result.exit_code == 1
        assert message in result.output
        assert "Traceback" not in result.output
