"""SolutionFile: accepted solutions as JSON lines, a dataset for fine-tuning the model.

This is the collecting half of STaR (Zelikman et al. 2022, arXiv 2203.14465) and of expert
iteration.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from gpt2edge._checks import check_path
from gpt2edge._text import text_of
from gpt2edge.errors import FileFormatError
from gpt2edge.runtime.search.budget import Candidate


class SolutionFile:
    """A file of solutions, appended to, each pair of prompt and text once.

    Existing contents are read, so that an interrupted run can continue: ``prompts`` holds the
    prompts that have a solution. An incomplete last line is removed. Not safe for two processes at
    once. Raises FileFormatError for a file of another kind.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_path("path", path)
        self.path = Path(path)
        self.prompts: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        if self.path.exists():
            self._resume()

    def __repr__(self) -> str:
        return f"SolutionFile({str(self.path)!r}, solutions={len(self)})"

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, candidates: Iterable[Candidate]) -> int:
        """Append the candidates that are whole and new; return how many those were.

        The caller selects the candidates to accept, such as ``[c for c in result.candidates if
        c.answer == expected]``. Texts that differ only in blanks at either end are equal.
        """
        lines = []
        for candidate in candidates:
            prompt, text = candidate.completion.prompt, candidate.text
            if candidate.is_whole and (prompt, text.strip()) not in self._seen:
                self._remember(prompt, text)
                row = {"prompt": prompt, "completion": text, "answer": candidate.answer}
                lines.append(json.dumps({**row, "score": candidate.score}, ensure_ascii=False))
        if lines:
            data = "".join(line + "\n" for line in lines).encode()
            with self.path.open("ab", buffering=0) as file:  # one write: a prompt's lines or none
                file.write(data)
        return len(lines)

    def _resume(self) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        try:
            lines = text_of(whole, "it").split("\n")[:-1]
        except ValueError as error:
            raise FileFormatError(f"{self.path} holds no harvested solutions: {error}") from None
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                self._remember(str(row["prompt"]), str(row["completion"]))
            except (ValueError, KeyError, TypeError):
                raise FileFormatError(
                    f"{self.path}, line {number}: not a harvested solution; choose another file"
                ) from None
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))

    def _remember(self, prompt: str, text: str) -> None:
        self.prompts.add(prompt)
        self._seen.add((prompt, text.strip()))
