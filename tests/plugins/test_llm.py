"""``llm -m gpt2edge``, with the real package.

Needs packages of its own: ``pip install 'gpt2edge[export,llm]' pytest``, then
``pytest -m interop tests/plugins/test_llm.py``.
"""

import asyncio
import json
import shutil
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
