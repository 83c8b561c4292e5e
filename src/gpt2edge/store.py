"""The store: model folders written by ``gpt2edge pull``, found by name.

<store>/<owner>--<name>/<variant>/     a model folder; its variant is "fp32" or a recipe's name

A reference is ``owner/name`` or ``owner/name:variant``, such as ``openai-community/gpt2:int8``; the
owner is optional, as on the Hub.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpt2edge._checks import check_text, check_type
from gpt2edge._user_dirs import user_dir
from gpt2edge.errors import ModelDirError, ModelNotFoundError

STORE_VARIABLE: Final = "GPT2EDGE_STORE"
_PART: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
_REFERENCE: Final = re.compile(rf"((?:{_PART}/)?{_PART})(?::({_PART}))?")
_SLASH: Final = "--"  # the Hub allows neither "--" nor ".." in a name


@dataclass(frozen=True, slots=True, order=True)
class StoredModel:
    """A model folder of the store."""

    name: str
    variant: str
    path: Path

    @property
    def reference(self) -> str:
        """Return the name to pass as a model: ``name:variant``."""
        return f"{self.name}:{self.variant}"


def store_dir() -> Path:
    """Return the store's folder: ``GPT2EDGE_STORE``, or gpt2edge/models in the user's data folder.

    The data folder is ``XDG_DATA_HOME`` if that is an absolute path, ``LOCALAPPDATA`` on Windows,
    else ``~/.local/share``.
    """
    return user_dir(
        "gpt2edge/models", variable=STORE_VARIABLE, xdg="XDG_DATA_HOME", fallback=".local/share"
    )


def parse_reference(text: str) -> tuple[str, str | None] | None:
    """Split a reference into name and variant (None if absent); return None for other texts."""
    check_text("text", text)
    match = _REFERENCE.fullmatch(text)
    if match is None or _SLASH in text or ".." in text:
        return None
    return match[1], match[2]


def stored_path(name: str, variant: str) -> Path:
    """Return the path of the model of this name and variant, which need not exist.

    Raises ValueError for an invalid name or variant.
    """
    check_text("name", name)
    check_text("variant", variant)
    if parse_reference(f"{name}:{variant}") != (name, variant):
        raise ValueError(
            f"model name is {name!r}; it must be NAME or OWNER/NAME of letters, digits, '.', '_' "
            "and '-', as on the Hugging Face Hub"
        )
    return store_dir() / name.replace("/", _SLASH) / variant


def stored_models() -> list[StoredModel]:
    """Return all models of the store, sorted by name and variant."""
    return sorted(_stored())


def find_model(reference: str) -> StoredModel:
    """Return the stored model of a reference; without a variant, the only one of that name.

    Raises ModelNotFoundError if there is none, ModelDirError if there are several.
    """
    check_text("reference", reference)
    parsed = parse_reference(reference)
    matches = [
        model
        for model in stored_models()
        if parsed is not None and parsed[0] == model.name and parsed[1] in (None, model.variant)
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(model.reference for model in matches)
        raise ModelDirError(f"{reference!r} is stored in several variants: give one of {names}")
    hint = ""
    if parsed is not None:
        recipe = f" --recipe {parsed[1]}" if parsed[1] else ""
        hint = f", or fetch one with 'gpt2edge pull {parsed[0]}{recipe}'"
    raise ModelNotFoundError(
        f"no model folder at {reference!r}, and none of that name in {str(store_dir())!r}: make "
        f"one with 'gpt2edge export SOURCE OUT'{hint}"
    )


def to_fetch(model: str) -> tuple[str, str | None] | None:
    """Return the name and variant to fetch for ``model``; None for a folder or a stored model."""
    reference = parse_reference(model)
    if reference is None or Path(model).exists():
        return None
    name, variant = reference
    present = any(
        stored.name == name and variant in (None, stored.variant) for stored in stored_models()
    )
    return None if present else reference


def remove_model(model: StoredModel) -> None:
    """Delete a model from the store."""
    import shutil  # slow to load

    check_type("model", model, StoredModel, "a StoredModel, such as find_model returns")
    try:
        shutil.rmtree(model.path)
        if not any(model.path.parent.iterdir()):
            model.path.parent.rmdir()
    except OSError as error:
        raise ModelDirError(f"cannot remove {str(model.path)!r}: {error.strerror}") from None


def _stored() -> Iterator[StoredModel]:
    for path in store_dir().glob("*/*/manifest.json"):
        folder = path.parent
        name = folder.parent.name.replace(_SLASH, "/")
        if parse_reference(f"{name}:{folder.name}") == (name, folder.name):
            yield StoredModel(name, folder.name, folder)
