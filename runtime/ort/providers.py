"""Execution providers of onnxruntime, requested by name with options."""

from collections.abc import Sequence
from typing import Final

from gpt2edge.errors import ProviderError
from gpt2edge.runtime.options import Provider

_SUFFIX: Final = "ExecutionProvider"
CPU: Final = "CPUExecutionProvider"
_DEVICES: Final = {"cpu": CPU, "cuda": "CUDAExecutionProvider"}
_PACKAGES: Final = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "DmlExecutionProvider": "onnxruntime-directml",
    "CoreMLExecutionProvider": "onnxruntime, on macOS",
}
MEMORY: Final = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda"}
"""The device memory of providers that do not keep tensors in the CPU's memory."""


def requested(
    device: str, providers: Sequence[Provider | str], available: Sequence[str]
) -> list[Provider]:
    """Return the requested providers under onnxruntime's names, or the provider of ``device``.

    Raises ProviderError, with a list of the available providers, where one is not available.
    """
    if not providers and device not in _DEVICES:
        raise ProviderError(f"device is {device!r}; it must be one of {', '.join(_DEVICES)}")
    given = list(providers) or [Provider(_DEVICES[device])]
    wanted = [Provider.of(item) if isinstance(item, str) else item for item in given]
    return [Provider(_full_name(item.name, available), item.options) for item in wanted]


def check_active(wanted: Sequence[Provider], active: Sequence[str]) -> None:
    """Raise ProviderError where onnxruntime dropped a requested provider."""
    dropped = [item.name for item in wanted if item.name not in active]
    if dropped:
        raise ProviderError(
            f"{dropped[0]} was asked for, but onnxruntime could not start it and the model would "
            f"run on {', '.join(active)}: check that its driver and libraries are installed and "
            "that its options are right"
        )


def _full_name(name: str, available: Sequence[str]) -> str:
    """Return onnxruntime's name of a provider; ``name`` may lack the suffix, in any case."""
    bare = name.lower().removesuffix(_SUFFIX.lower())
    for candidate in available:
        if candidate.lower().removesuffix(_SUFFIX.lower()) == bare:
            return candidate
    known = {full.lower().removesuffix(_SUFFIX.lower()): full for full in _PACKAGES}
    package = _PACKAGES.get(known.get(bare, ""))
    hint = f"; install {package} in place of onnxruntime to get it" if package else ""
    raise ProviderError(
        f"execution provider {name!r} is not available{hint}. This onnxruntime has "
        f"{', '.join(available)}"
    )
