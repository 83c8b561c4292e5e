"""Generation settings at export: which are taken over, and which are one warning."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import SMALL, write_checkpoint


def exported(folder: Path, keys: Any = (), settings: Any = None) -> ModelDir:
    write_checkpoint(folder / "hf", {**SMALL, **dict(keys)})
    if settings is not None:
        (folder / "hf" / "generation_config.json").write_text(json.dumps(settings))
    return export_checkpoint(folder / "hf", folder / "out")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage().partition("hf: ")[2] for record in caplog.records]
    return [line for line in lines if "no tokenizer" not in line]


UNKNOWN = "generation settings that gpt2edge does not have: "


@pytest.mark.parametrize(
    ("settings", "ignored"),
    [
        ({"guidance_scale": 1.5}, "guidance_scale"),
        ({"watermarking_config": {"bias": 2}, "temperature": 1.0}, "watermarking_config"),
        ({"num_return_sequences": 3, "penalty_alpha": 0.6}, "num_return_sequences, penalty_alpha"),
        ({"do_sample": True, "top_h": 0.4, "eta_cutoff": 1e-3}, "top_h, eta_cutoff"),
        ({"num_beams": 2, "renormalize_logits": True}, "renormalize_logits"),
        ({"temprature": 0.5, "chat_format": "raw"}, "temprature, chat_format"),
        ({"guidance_scale": 1, "token_healing": False, "diversity_penalty": 0.0}, None),
        ({"guidance_scale": None, "constraints": None}, None),
        ({"epsilon_cutoff": 1e-3, "top_h": 0.4, "renormalize_logits": True}, None),
        ({"output_scores": True, "use_cache": False, "_from_model_config": True}, None),
        ({"min_length": 5, "suppress_tokens": [1], "stop_strings": "x", "max_time": 9}, None),
    ],
)
def test_what_the_engine_does_not_do_is_one_warning(
    settings: Any, ignored: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert exported(tmp_path, settings=settings).generation_config == settings
    assert warnings_of(caplog) == ([UNKNOWN + ignored] if ignored else [])


def test_settings_in_config_become_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = {"min_length": 5, "do_sample": True, "top_k": 50, "guidance_scale": 2, "dropout": 0.1}
    model = exported(tmp_path, keys)
    assert model.generation_config == {
        "min_length": 5,
        "do_sample": True,
        "top_k": 50,
        "guidance_scale": 2,
    }
    assert "generation_config.json" in model.manifest.files
    assert warnings_of(caplog) == [f"{UNKNOWN}guidance_scale"]


def test_what_old_transformers_wrote_everywhere_asks_for_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old: dict[str, object] = {
        "max_length": 20,
        "min_length": 0,
        "do_sample": False,
        "num_beams": 1,
        "top_k": 50,
    }
    old |= {"temperature": 1.0, "repetition_penalty": 1.0, "length_penalty": 1.0, "top_p": 1.0}
    old |= {"num_return_sequences": 1, "bad_words_ids": None, "task_specific_params": {"a": 1}}
    assert exported(tmp_path, old).generation_config == {}
    assert not (tmp_path / "out" / "generation_config.json").exists()
    assert not warnings_of(caplog)


def test_settings_in_config_do_not_count_beside_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = exported(tmp_path, {"min_length": 5, "num_beams": 4}, {"max_new_tokens": 9})
    assert model.generation_config == {"max_new_tokens": 9}
    assert warnings_of(caplog) == [
        "config.json: min_length, num_beams: no effect beside generation_config.json"
    ]
