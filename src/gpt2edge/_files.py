"""Atomic writes: a file is written completely or left unchanged."""

import os
from pathlib import Path

from gpt2edge._checks import check_path


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Replace the file at ``path`` by ``text``, in one step.

    If ``path`` is not a regular file, such as a pipe or a terminal, the text is written to it.
    """
    from tempfile import NamedTemporaryFile  # slow to load

    check_path("path", path)
    target = Path(path)
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")
        return
    target = target.resolve()  # replace the target of a link, not the link
    with NamedTemporaryFile(
        "w",
        encoding="utf-8",
        dir=target.parent,
        prefix=f".{target.name[:50]}.",
        suffix=".part",
        delete=False,
    ) as file:
        part = Path(file.name)
        try:
            file.write(text)
            file.close()
            part.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~umask())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def umask() -> int:
    """Return the process's umask: the permissions that new files lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
