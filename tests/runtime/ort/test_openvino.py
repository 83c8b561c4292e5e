"""A second execution provider for real: OpenVINO on the CPU, in an environment of its own.

``make interop-peers`` builds the environment and runs this.
"""

from pathlib import Path
from typing import Final

import numpy as np
import pytest

import gpt2edge
from gpt2edge import GREEDY, Engine, ModelDir, SamplingParams
from gpt2edge.errors import ProviderError
from gpt2edge.export import export_checkpoint
from gpt2edge.runtime.ort.session import runtime_facts
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        "OpenVINOExecutionProvider" not in runtime_facts()["providers"],
        reason="interop: needs onnxruntime-openvino",
    ),
]

STORYTELLER: Final = ROOT / "training" / "models" / "storyteller"
PROMPTS: Final = ("The king", "Once upon a time there was", "A wolf")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDir:
    out = tmp_path_factory.mktemp("portable") / "out"
    return export_checkpoint(STORYTELLER, out, profile="portable")


@pytest.fixture(scope="module")
def cpu(model: ModelDir) -> Engine:
    return Engine(model.path)


@pytest.fixture(scope="module")
def openvino(model: ModelDir) -> Engine:
    return gpt2edge.load(model.path, providers=["openvino:device_type=CPU"])


def test_logits_and_200_greedy_tokens(cpu: Engine, openvino: Engine) -> None:
    text = "Once upon a time there was a king who had no daughter."
    assert np.abs(cpu.logits(text) - openvino.logits(text)).max() <= 1e-4
    found = openvino.generate("Once upon a time", max_new_tokens=200, sampling=GREEDY)
    expected = cpu.generate("Once upon a time", max_new_tokens=200, sampling=GREEDY)
    assert found.token_ids == expected.token_ids


def test_batches_forks_and_scores(cpu: Engine, openvino: Engine) -> None:
    sampling = SamplingParams(temperature=0.8, seed=1)
    texts = [
        [done.token_ids for done in engine.generate_batch(PROMPTS, n=2, sampling=sampling)]
        for engine in (cpu, openvino)
    ]
    assert texts[0] == texts[1]
    scores = [engine.score("The king", [" lived", " was"]) for engine in (cpu, openvino)]
    for one, other in zip(*scores, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


@pytest.mark.parametrize("options", ["device_type=NPU", "no_such_option=1"])
def test_what_openvino_cannot_start_is_an_error(
    model: ModelDir, options: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ProviderError, match="OpenVINOExecutionProvider"):
        gpt2edge.load(model.path, providers=[f"openvino:{options}"])
    assert capfd.readouterr().out == ""


def test_the_fused_graph_stays_on_the_cpu(tmp_path: Path) -> None:
    export_checkpoint(ROOT / "tests" / "data" / "tiny", tmp_path / "fused")
    with pytest.raises(ProviderError, match="export it with the profile portable"):
        gpt2edge.load(tmp_path / "fused", providers=["openvino"])
