"""A provider that was asked for is active, or loading fails with what there is instead."""

import pytest

import gpt2edge
from gpt2edge import Engine, RuntimeOptions
from gpt2edge.errors import ProviderError
from gpt2edge.runtime.options import Provider
from gpt2edge.runtime.ort.library import ort
from gpt2edge.runtime.ort.providers import requested
from tests.runtime.models import make_engine

HAVE = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("openvino", {}),
        ("OpenVINO:device_type=CPU", {"device_type": "CPU"}),
        ("openvinoexecutionprovider:a=1, b=x=y", {"a": "1", "b": "x=y"}),
        ("OpenVINOExecutionProvider:a=", {"a": ""}),
    ],
)
def test_names_and_options(text: str, options: dict[str, str]) -> None:
    assert requested("cpu", [text], HAVE) == [Provider("OpenVINOExecutionProvider", options)]


def test_the_device_decides_where_no_provider_is_named() -> None:
    assert requested("cpu", (), HAVE) == [Provider("CPUExecutionProvider")]
    with pytest.raises(ProviderError, match="install onnxruntime-gpu in place of onnxruntime"):
        requested("cuda", (), HAVE)


@pytest.mark.parametrize("text", ["", ":a=1", "cpu:", "cpu:a", "cpu:=1", "cpu:a=1,"])
def test_bad_writing(text: str) -> None:
    with pytest.raises(ValueError, match="write NAME or NAME:key=value,key=value"):
        RuntimeOptions(providers=[text])


def test_what_is_not_there_is_answered_with_what_is() -> None:
    available = ", ".join(ort.get_available_providers())
    with pytest.raises(ProviderError, match=f"'tpu' is not available. This .* has {available}"):
        gpt2edge.load(providers=["tpu"])
    with pytest.raises(ProviderError, match="device is 'tpu'; it must be one of cpu, cuda"):
        gpt2edge.load(device="tpu")
    with pytest.raises(ValueError, match="providers is 'cpu'; it must be a list"):
        RuntimeOptions(providers="cpu")
    with pytest.raises(ValueError, match="device_id is 'two'"):
        _ = Provider.of("cuda:device_id=two").device_id


@pytest.fixture
def seems_to_have_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime with a provider that it cannot start, and therefore drops."""
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: names)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.usefixtures("seems_to_have_cuda")
def test_a_dropped_provider_is_an_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    model = make_engine(tmp_path_factory.mktemp("portable"), profile="portable").model
    with pytest.raises(ProviderError, match="could not start it and the model would run on CPU"):
        Engine(model.path, RuntimeOptions(device="cuda"))


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.usefixtures("seems_to_have_cuda")
def test_the_fused_graph_is_the_cpus() -> None:
    with pytest.raises(ProviderError, match="CUDAExecutionProvider, export it with the profile"):
        gpt2edge.load(providers=["cuda"])


def test_the_cpu_by_name(engine: Engine) -> None:
    named = Engine(engine.model.path, RuntimeOptions(providers=["CPU"]))
    assert (named.logits("hello") == engine.logits("hello")).all()
