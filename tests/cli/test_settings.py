"""The model's own generation settings under the options of a command."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import error, invoke, output_json
from tests.runtime.models import KEYS, make_engine

SETTINGS = {
    "max_length": 12,
    "min_length": 8,
    "stop_strings": ["zzz"],
    "max_time": 60.0,
    "suppress_tokens": [3],
    "eos_token_id": list(range(0, 260, 2)),
}
PROMPT = ("--token-ids", "10 200 31")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    return make_engine(folder, KEYS, generation_config=SETTINGS).model.path


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (
            [],
            {
                "max_new_tokens": None,
                "max_length": 12,
                "min_new_tokens": 0,
                "min_length": 8,
                "stop": ["zzz"],
                "max_time": 60.0,
                "suppress_tokens": [3],
            },
        ),
        (["-n", 4], {"max_new_tokens": 4, "max_length": None, "min_length": 8}),
        (["--min-new-tokens", 0], {"min_new_tokens": 0, "min_length": None}),
        (["--min-new-tokens", 2], {"min_new_tokens": 2, "min_length": None, "max_length": 12}),
        (["--stop", "y", "--max-time", 9], {"stop": ["y"], "max_time": 9.0, "min_length": 8}),
    ],
)
def test_a_flag_wins_over_the_file(
    options: list[Any], settings: dict[str, Any], model: Path
) -> None:
    found = output_json("generate", "-m", model, *PROMPT, *options)
    assert {name: found["settings"].get(name) for name in settings} == settings
    fewest = settings.get("min_new_tokens") or (5 if settings.get("min_length") else 1)
    assert min(fewest, settings.get("max_new_tokens") or 9) <= len(found["token_ids"]) <= 9


def test_origins(model: Path) -> None:
    stderr = invoke("generate", "-m", model, *PROMPT, "--verbose", "--stop", "y").stderr
    origins = dict(line.split(": ", 1) for line in stderr.splitlines()[:3])
    from_file = "suppress_tokens [3], max_time 60.0, max_length 12, min_length 8"
    assert origins["by the model's config"] == from_file
    assert origins["by your options"] == "stop ('y',)"
    assert origins["at their defaults"] == "27 other settings, which --json lists"


def test_a_prompt_as_long_as_the_models_limit(model: Path) -> None:
    ids = " ".join(map(str, range(12)))
    line = error("generate", "-m", model, "--token-ids", ids)
    assert "the prompt has 12 tokens" in line
    assert "max_length 12" in line
