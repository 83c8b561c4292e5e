"""The errors that gpt2edge raises on purpose.

Gpt2EdgeError
├── ModelDirError         a model folder is incomplete, or of a foreign format
│   ├── ModelNotFoundError   there is no such folder, and no stored model of that name
│   └── ModelDamagedError    a file of a model folder is not the one that was written
├── ExportError           a checkpoint cannot become an ONNX model
│   └── ParityError       the exported graph disagrees with the numpy reference
├── QuantizationError     a model cannot be quantized as asked
├── HubError              a model cannot be fetched from the Hugging Face Hub
├── ProviderError         an execution provider is not available or not active
├── UnsupportedError      a model lacks what is asked for: a tokenizer, a vocabulary, hidden states
├── ContextLengthError    prompt and completion do not fit the model's context
├── EngineClosedError     an engine is used after its close, or in a fork of its process
├── VerifierError         a verifier does not fit its model, or returns no valid scores
├── InsideError           a model cannot be looked into as asked
├── FileFormatError       a file of gpt2edge's own is damaged, of another kind or another model
└── MissingExtraError     an optional package is not installed

A program may catch ModelNotFoundError to fetch the model (``load(name, pull=True)`` does),
ContextLengthError to shorten a prompt, HubError to try again or offline, EngineClosedError to load
anew, and MissingExtraError to tell its user what to install.

Arguments of a wrong value or type raise ``ArgumentError``, a ``ValueError``. A message states the
value, the allowed values and the remedy. An argument that a message names is an ``Argument`` among
the error's parts, so that a command can name its own option there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = [
    "Argument",
    "ArgumentError",
    "ContextLengthError",
    "EngineClosedError",
    "ExportError",
    "FileFormatError",
    "Gpt2EdgeError",
    "HubError",
    "InsideError",
    "MissingExtraError",
    "ModelDamagedError",
    "ModelDirError",
    "ModelNotFoundError",
    "ParityError",
    "ProviderError",
    "QuantizationError",
    "UnsupportedError",
    "VerifierError",
]


class Argument(NamedTuple):
    """An argument that a message names: ``top_k``, or with a value ``overwrite=True``."""

    name: str
    value: Any = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}={self.value!r}"


class _ToldError(Exception):
    """An error whose message is made of parts, some of which are an ``Argument``."""

    def __init__(self, *parts: object) -> None:
        super().__init__("".join(map(str, parts)))
        self.parts = parts

    def told(self, speak: Callable[[Argument], str]) -> str:
        """Return the message; ``speak`` names each argument in it."""
        return "".join(
            speak(part) if isinstance(part, Argument) else str(part) for part in self.parts
        )


class ArgumentError(_ToldError, ValueError):
    """An argument has a wrong value or is of a wrong type."""


class Gpt2EdgeError(_ToldError):
    """The base of every error that gpt2edge raises on purpose, except for bad arguments."""


class ModelDirError(Gpt2EdgeError):
    """A model folder is incomplete, of a foreign format or, in a subclass, absent or damaged."""


class ModelNotFoundError(ModelDirError):
    """There is no such folder, and no model of that name is stored."""


class ModelDamagedError(ModelDirError):
    """A file of a model folder is missing, or is not the one that was written."""


class ExportError(Gpt2EdgeError):
    """A checkpoint cannot become an ONNX model."""


class ParityError(ExportError):
    """The exported graph disagrees with the numpy reference."""


class QuantizationError(Gpt2EdgeError):
    """A model cannot be quantized as asked."""


class HubError(Gpt2EdgeError):
    """A model cannot be fetched from the Hugging Face Hub."""


class ProviderError(Gpt2EdgeError):
    """An execution provider is not available or not active."""


class UnsupportedError(Gpt2EdgeError, ValueError):
    """A model lacks what is asked for: a tokenizer, a vocabulary or hidden states."""


class ContextLengthError(Gpt2EdgeError):
    """Prompt and completion do not fit the model's context."""


class EngineClosedError(Gpt2EdgeError):
    """An engine is used after its close, or in a fork of the process that loaded it."""


class VerifierError(Gpt2EdgeError):
    """A verifier does not fit its model, or returns no valid scores."""


class InsideError(Gpt2EdgeError):
    """A model cannot be looked into as asked: it is not of gpt2edge, or has no such part."""


class FileFormatError(Gpt2EdgeError):
    """A file of gpt2edge's own is damaged, of another kind or of another model."""


class MissingExtraError(Gpt2EdgeError):
    """An optional package is not installed."""
