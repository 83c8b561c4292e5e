"""Optional packages, imported on first use."""

from importlib import import_module
from types import ModuleType

from gpt2edge._telemetry import decline
from gpt2edge.errors import MissingExtraError


def require(extra: str, module: str) -> ModuleType:
    """Import and return ``module``; raise MissingExtraError with the command that installs it."""
    decline()
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the package {module!r}, which is not installed: "
            f"run pip install 'gpt2edge[{extra}]'"
        ) from None


def installed_version(module: str) -> str:
    """Return the version of the package that provides ``module``, under any package name.

    onnxruntime, for example, is also distributed as onnxruntime-gpu and onnxruntime-openvino.
    """
    from importlib.metadata import PackageNotFoundError, version  # slow: not for --help

    try:
        return version(module)
    except PackageNotFoundError:
        decline()
        return str(import_module(module).__version__)
