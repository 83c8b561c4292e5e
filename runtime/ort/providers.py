"""Execution providers of onnxruntime, asked for by name with options."""

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
"""Where a provider keeps its tensors, if not in the CPU's memory."""


def requested(
    device: str, providers: Sequence[Provider | str], available: Sequence[str]
) -> list[Provider]:
    """The providers asked for, under onnxruntime's names; those of ``device`` where none are named.

    Raises ProviderError that lists the available ones where one is not among them.
    """
    if not providers and device not in _DEVICES:
        raise ProviderError(f"device {device!r} is unknown; it must be {', '.join(_DEVICES)}")
    given = list(providers) or [Provider(_DEVICES[device])]
    wanted = [Provider.of(item) if isinstance(item, str) else item for item in given]
    return [Provider(_full_name(item.name, available), item.options) for item in wanted]


def check_active(wanted: Sequence[Provider], active: Sequence[str]) -> None:
    """Raise ProviderError where onnxruntime dropped a provider that was asked for."""
    dropped = [item.name for item in wanted if item.name not in active]
    if dropped:
        raise ProviderError(
            f"{dropped[0]} was asked for, but onnxruntime could not start it and the model would "
            f"run on {', '.join(active)}: its driver or libraries are missing, or an option is "
            "wrong"
        )


def _full_name(name: str, available: Sequence[str]) -> str:
    """onnxruntime's name of ``name``, which may lack the suffix, in any case of letters."""
    bare = name.lower().removesuffix(_SUFFIX.lower())
    for candidate in available:
        if candidate.lower().removesuffix(_SUFFIX.lower()) == bare:
            return candidate
    known = {full.lower().removesuffix(_SUFFIX.lower()): full for full in _PACKAGES}
    package = _PACKAGES.get(known.get(bare, ""))
    hint = f"; it comes with {package}, in the place of onnxruntime" if package else ""
    raise ProviderError(
        f"execution provider {name!r} is not available{hint}. This onnxruntime has "
        f"{', '.join(available)}"
    )
