"""Output of ``gpt2edge generate``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from gpt2edge.cli.display.output import is_terminal, note, quoted
from gpt2edge.cli.options.settings import Settings

if TYPE_CHECKING:
    from gpt2edge.runtime.decoding.request import Prompt
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.results import Chunk, Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionView:
    """Options for showing completions."""

    prompts: str | None
    n: int
    logprobs: int | None
    as_json: bool
    stream: bool
    echo: bool | None
    special: bool
    verbose: bool

    @property
    def echoes(self) -> bool:
        """Tell whether the prompt is printed before its completion."""
        return is_terminal(sys.stdout) if self.echo is None else self.echo

    @property
    def reason_to_sample(self) -> str:
        """Why to sample where nobody says how to decode; empty for no reason."""
        if self.n > 1:
            return "implied by --samples"
        return "for a terminal" if is_terminal(sys.stdout) and not self.as_json else ""

    def announce(self, settings: Settings) -> None:
        """Explain the effective settings if requested; tell a person of greedy decoding."""
        if self.verbose:
            note("\n".join(settings.lines()))
        elif settings.is_unchosen and is_terminal(sys.stderr):
            note("greedy: the model's config does not say how to decode; --temperature 0.8 samples")


class Printer:
    """Writes one completion to stdout: text, token ids, or a line for each token."""

    def __init__(self, engine: "Engine", view: CompletionView) -> None:
        self._tokenizer = engine.tokenizer
        self._view = view
        self._tokens = 0
        self._characters = 0

    def prompt(self, prompt: "Prompt") -> None:
        """Print the prompt if the view echoes it."""
        if self._view.echoes:
            click.secho(self._text(prompt), nl=False, bold=True)

    def chunk(self, chunk: "Chunk") -> None:
        """Print the text that became complete with one token."""
        self._tokens += 1
        self._characters += len(chunk.text)
        if self._view.logprobs is not None:
            others = [(other.text, other.logprob) for other in chunk.top_logprobs]
            self._token_line(chunk.token_id, chunk.logprob, others)
        elif self._tokenizer is None:
            click.echo(f"{chunk.token_id} ", nl=False)
        elif chunk.text:
            click.echo(chunk.text, nl=False)

    def finish(self, completion: "Completion") -> None:
        """Print the rest of the text and the last newline."""
        if self._view.logprobs is not None:
            for at in range(self._tokens, len(completion.token_ids)):
                tops = completion.top_logprobs[at] if completion.top_logprobs else ()
                others = [(other.text, other.logprob) for other in tops]
                self._token_line(completion.token_ids[at], completion.logprobs[at], others)
        elif self._tokenizer is None:
            click.echo(" ".join(map(str, completion.token_ids[self._tokens :])))
        else:
            click.echo(completion.text[self._characters :])

    def _token_line(
        self, token_id: int, logprob: float | None, others: Sequence[tuple[str, float]]
    ) -> None:
        piece = quoted(self._tokenizer.piece(token_id)) if self._tokenizer else str(token_id)
        beside = "  ".join(f"{quoted(text)} {value:.3f}" for text, value in others)
        click.echo(f"{logprob:9.3f}  {piece:<16}  {beside}".rstrip())

    def _text(self, prompt: "Prompt") -> str:
        if isinstance(prompt, str):
            return prompt
        if self._tokenizer is None:
            return "".join(f"{token_id} " for token_id in prompt)
        return self._tokenizer.decode(prompt, skip_special_tokens=not self._view.special)
