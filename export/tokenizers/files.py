"""Reading of tokenizer files, with limits on what is taken into memory."""

from pathlib import Path
from typing import Final

from gpt2edge._text import text_of

LARGEST_FILE: Final = 64 * 2**20
LARGEST_COUNT: Final = 2**24
"""The most tokens of a vocabulary."""
LONGEST_TOKEN: Final = 1024
"""The most bytes of a token."""


def read_bytes(path: Path) -> bytes:
    """Read a tokenizer's file. Raises ValueError where it is larger than 64 MB."""
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ValueError(f"{path.name} is larger than {LARGEST_FILE >> 20} MB")
    return data


def read_text(path: Path) -> str:
    """Read a tokenizer's file of UTF-8 text. Raises ValueError for other bytes."""
    return text_of(read_bytes(path), path.name)
