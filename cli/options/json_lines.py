"""Files of JSON lines: prompts for ``generate``, problems for ``solve``."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpt2edge.cli.options.common import Source, parse_ids, read_file

if TYPE_CHECKING:
    from gpt2edge.runtime.decoding.request import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A prompt of ``generate``; ``id`` is what its line names it by."""

    prompt: "Prompt"
    id: Any = None


def read_prompts(source: Source, path: str | None) -> list[Asked]:
    """Return the prompt as the only one, or the prompts of the file."""
    if path is None:
        return [Asked(prompt=source.prompt())]
    source.check_absent("--prompts")
    prompts = []
    for _, keys in json_lines(path, "prompts"):
        text = keys["prompt"]
        prompts.append(
            Asked(prompt=parse_ids(text) if source.token_ids else text, id=keys.get("id"))
        )
    return prompts


def json_lines(path: str, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line's place in the file and its JSON object, which has a text ``prompt``.

    Raises ValueError for a file without any, which holds no ``what``.
    """
    lines = read_file(path).split("\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"{path}, line {number}", _object(line, f"{path}, line {number}")
    if not any(map(str.strip, lines)):
        raise ValueError(f"{path} holds no {what}")


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        keys = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(f"{place}: not a JSON object") from None
    if not isinstance(keys, dict) or not isinstance(keys.get("prompt"), str):
        raise ValueError(f'{place}: not a JSON object with a text "prompt"')
    return keys
