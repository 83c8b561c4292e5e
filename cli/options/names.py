"""Names on the command line that the TAB key completes: models, recipes, providers."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

_PROVIDERS: Final = ("cpu", "cuda", "openvino", "dml", "coreml", "tensorrt", "xnnpack")
"""Of onnxruntime, by the short names that ``Provider`` takes; which of them a package has is known
only once it is loaded, and a TAB should not take that long."""


class ModelType(click.Path):
    """A model folder, or the name of a stored model."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Complete folders, and the names in the store."""
        folders = CompletionItem(incomplete, type="dir")  # first: bash forgets what precedes it
        return [folders, *_items(_stored_names(), incomplete)]


class NameType(click.types.StringParamType):
    """A text that the TAB key completes from a list; the library knows what else is right."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Complete from the list."""
        return _items(self._names(), incomplete)


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _stored_names() -> list[str]:
    from gpt2edge.store import stored_models

    with suppress(OSError):
        return [model.reference for model in stored_models()]
    return []


def _recipe_names() -> list[str]:
    from gpt2edge.quant.recipes import AUTO, MIXED, RECIPES

    return [*RECIPES, MIXED, AUTO]


MODEL: Final = ModelType()
STORED: Final = NameType(_stored_names)
RECIPE: Final = NameType(_recipe_names)
PROVIDER: Final = NameType(lambda: _PROVIDERS)
