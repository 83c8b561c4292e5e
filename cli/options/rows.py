"""Rows of JSON that a command reads: one object a line."""

import json
from typing import Any

from gpt2edge.cli.options.common import read_file


def read_rows(path: str) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line, or stdin for ``-``.

    Raises ValueError for a line that is none.
    """
    rows = []
    for number, line in enumerate(read_file(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number} is no JSON object")
        rows.append(row)
    return rows
