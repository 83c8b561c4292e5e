"""Every error that a user can cause or meet.

Gpt2EdgeError
├── ModelDirError         a model folder is missing, incomplete, damaged or of a foreign format
├── ExportError           a checkpoint cannot become an ONNX model
│   └── ParityError       the exported graph disagrees with the numpy reference
├── QuantizationError     a model cannot be quantized as asked
├── HubError              a model cannot be fetched from the Hugging Face Hub
├── ProviderError         an execution provider is not available or not active
├── ContextLengthError    prompt and completion do not fit the model's context
└── MissingExtraError     an optional package is not installed

Bad arguments stay ``ValueError``. A message says what was given, what is allowed, what to do next.
"""

__all__ = [
    "ContextLengthError",
    "ExportError",
    "Gpt2EdgeError",
    "HubError",
    "MissingExtraError",
    "ModelDirError",
    "ParityError",
    "ProviderError",
    "QuantizationError",
]


class Gpt2EdgeError(Exception):
    """Base of every error that gpt2edge raises on purpose, bad arguments apart."""


class ModelDirError(Gpt2EdgeError):
    """A model folder is missing, incomplete, damaged or of a foreign format."""


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


class ContextLengthError(Gpt2EdgeError):
    """Prompt and completion do not fit the model's context."""


class MissingExtraError(Gpt2EdgeError):
    """An optional package is not installed."""
