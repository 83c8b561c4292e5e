"""A short repr for dataclasses with many fields."""

from dataclasses import MISSING, Field, fields
from typing import Any


def changed_fields(value: Any) -> str:
    """Return the repr of a dataclass's value, without the fields that are at their defaults."""
    shown = [
        f"{field.name}={getattr(value, field.name)!r}"
        for field in fields(value)
        if getattr(value, field.name) != _default(field)
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
