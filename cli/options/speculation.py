"""Options that save work and change no text: a prompt cache, speculative decoding."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gpt2edge.cli.help import SPEED, section
from gpt2edge.cli.options.common import Target
from gpt2edge.cli.options.names import MODEL

if TYPE_CHECKING:
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.options import RuntimeOptions
    from gpt2edge.runtime.results import Completion

_speed = section(SPEED)
_CACHE_BYTES: Final = 1 << 28
_KNOWN: Final = 8
"""Of a prompt that is known, fewer tokens than this are computed again."""

SHORTCUT_OPTIONS: Final = (
    _speed(
        "--prompt-cache",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Store the KV cache of prompts in FILE (at most 256 MiB) and reuse it for prompts "
        "with the same beginning.",
    ),
    _speed(
        "--prompt-lookup",
        is_flag=True,
        help="Speculative decoding with tokens copied from the text so far; for texts that repeat "
        "their prompt.",
    ),
    _speed(
        "--draft-model",
        type=MODEL,
        metavar="MODEL",
        help="Speculative decoding with this smaller model of the same tokenizer.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcuts:
    """The speculation and cache options given."""

    prompt_cache: Path | None
    prompt_lookup: bool
    draft_model: Path | None

    def load(self, target: Target) -> "Engine":
        """Load the engine of ``target`` and, if the file exists, its prompt cache."""
        if self.prompt_lookup and self.draft_model is not None:
            raise click.UsageError("--prompt-lookup and --draft-model exclude each other.")
        path = self.prompt_cache
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"{str(path.parent)!r} is no folder: choose another --prompt-cache")
        asked = path is not None or self.prompt_lookup or self.draft_model is not None
        engine = target.load(self._change if asked else None)
        if path is not None and path.exists():
            assert engine.prompt_cache is not None
            engine.prompt_cache.load(path)
        return engine

    def save(self, engine: "Engine", completions: "Iterable[Completion]") -> None:
        """Write the file if a prompt of ``completions`` was mostly new."""
        timings = [completion.timing for completion in completions]
        new = max((item.prompt_tokens - item.reused_tokens for item in timings), default=0)
        if self.prompt_cache is not None and new >= _KNOWN:
            assert engine.prompt_cache is not None
            engine.prompt_cache.save(self.prompt_cache)

    def _change(self, options: "RuntimeOptions") -> "RuntimeOptions":
        budget = _CACHE_BYTES if self.prompt_cache is not None else 0
        if not self.prompt_lookup and self.draft_model is None:
            return replace(options, prompt_cache_bytes=budget)
        from gpt2edge.runtime.options import DraftModel, PromptLookup

        speculation = DraftModel(self.draft_model) if self.draft_model else PromptLookup()
        return replace(options, speculation=speculation, prompt_cache_bytes=budget)
