"""Telemetry of dependencies: turned off before they are imported.

Since 1.31 onnxruntime writes a device id and an event database to ``~/.cache/Microsoft`` and looks
for an event collector (pull requests 27379 and 29843 of microsoft/onnxruntime). huggingface_hub,
its transport hf-xet and transformers send their users' versions along.
"""

import os
from typing import Final

_DECLINED: Final = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime; the second is enough only in some versions
    "ORT_TELEMETRY_DISABLED": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, hf-xet, transformers, datasets
}


def decline() -> None:
    """Set the variables that turn telemetry off, for child processes too; keep the user's values.

    Packages read them once, at import: call this before importing one.
    """
    for name, value in _DECLINED.items():
        os.environ.setdefault(name, value)


def settings() -> dict[str, str]:
    """Return each variable with its value."""
    decline()
    return {name: os.environ[name] for name in _DECLINED}
