"""Files that stand in the place of others: Git LFS pointers, web pages, empty downloads."""

import re
from pathlib import Path
from typing import Final

from gpt2edge.errors import ExportError

_HEAD: Final = 512
_LFS: Final = b"version https://git-lfs"
_LFS_SIZE: Final = re.compile(rb"\nsize (\d{1,15})\n")
_PAGE: Final = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)


def check_is_itself(path: Path) -> None:
    """Raise ExportError if ``path`` is a pointer, a web page or empty, with what to do."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ExportError(f"cannot read {str(path)!r}: {error.strerror}") from None
    if not head:
        raise ExportError(f"{path} is empty: get the file again")
    if head.startswith(_LFS):
        size = _LFS_SIZE.search(head)
        large = f" of {int(size[1]) / 1e6:,.0f} MB" if size else ""
        raise ExportError(f"{path} is a Git LFS pointer{large}, not the file: run git lfs pull")
    if _PAGE.match(head):
        raise ExportError(
            f"{path} is a web page, not the file: the download went wrong, get it again"
        )
