"""Each form becomes the same model as the plain folder of the same numbers."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from tests.checkpoints import save_tensors
from tests.cli.running import invoke
from tests.export.running import open_session, run
from tests.forms.folders import FORMS, HF, Case, config

PROMPT = [5, 17, 96, 42, 42, 7, 56, 19, 1, 90, 12, 64]
TOLERANCE = 2e-5


def logits(model: ModelDir) -> NDArray[np.float32]:
    """Eight tokens at once, then one at a time: [12, vocabulary]."""
    session = open_session(model)
    first, cache = run(session, PROMPT[:8])
    found = [first]
    for token in PROMPT[8:]:
        step, cache = run(session, [token], cache)
        found.append(step)
    return np.concatenate(found)


def plain(case: Case, folder: Path) -> ModelDir:
    """The model of the same numbers, from the form that everybody reads."""
    source = folder / "plain"
    source.mkdir()
    config(source, case.keys)
    save_tensors(source, case.tensors(case.random()))
    return export_checkpoint(source, folder / "expected")


@pytest.mark.parametrize("name", FORMS)
def test_form_is_the_plain_model(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = FORMS[name]
    source = tmp_path / "source"
    source.mkdir()
    case.write(source, case.random())
    with caplog.at_level(logging.WARNING):
        result = invoke("export", source / case.file, tmp_path / "out", *case.options)
    assert result.exit_code == 0, result.stderr
    assert case.warns in caplog.text
    model, expected = ModelDir.open(tmp_path / "out"), plain(case, tmp_path)
    assert np.abs(logits(model) - logits(expected)).max() <= TOLERANCE
    form = "" if case.form == HF else f" ({case.form})"
    assert model.manifest.source.startswith(case.file or "source")
    assert model.manifest.source.endswith(form)
    assert model.config.activation_function == expected.config.activation_function
