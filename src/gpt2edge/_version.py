"""The installed version; a module of its own, because looking it up is slow."""

from importlib.metadata import version
from typing import Final

__version__: Final = version("gpt2edge")
