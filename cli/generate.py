"""``gpt2edge generate``."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.main import INTERRUPTED
from gpt2edge.cli.options import Source, Target, bundled, json_option
from gpt2edge.cli.output import aligned, is_terminal, note, print_json, quoted
from gpt2edge.cli.settings import (
    END_OPTIONS,
    SAMPLING_OPTIONS,
    EndFlags,
    SamplingFlags,
    Settings,
    resolve,
)

if TYPE_CHECKING:
    from gpt2edge.runtime.engine import Engine, Stream
    from gpt2edge.runtime.requests import Prompt
    from gpt2edge.runtime.types import Chunk, Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How the completions are shown."""

    n: int
    logprobs: int | None
    as_json: bool
    stream: bool
    echo: bool | None
    verbose: bool

    @property
    def echoes(self) -> bool:
        """Whether the prompt is printed before its completion."""
        return is_terminal(sys.stdout) if self.echo is None else self.echo

    def announce(self, settings: Settings) -> None:
        """The effective settings, where they were asked for."""
        if self.verbose:
            note("\n".join(aligned(settings.lines())))


VIEW_OPTIONS = (
    click.option(
        "--num-return-sequences",
        "n",
        type=click.IntRange(1, 1024),
        default=1,
        metavar="N",
        help="N completions of the prompt, decoded together.",
    ),
    click.option(
        "--logprobs",
        type=int,
        metavar="N",
        help="Show each token's log-probability, and the N likeliest tokens beside it.",
    ),
    json_option,
    click.option(
        "--stream/--no-stream", default=True, help="Print as it comes (default), or at the end."
    ),
    click.option(
        "--echo/--no-echo",
        default=None,
        help="Print the prompt before the completion.  [default: on a terminal]",
    ),
    click.option(
        "-v", "--verbose", is_flag=True, help="Settings, their origins and timing, on stderr."
    ),
)


@click.command()
@Source.options()
@Target.options()
@bundled("ending", EndFlags, *END_OPTIONS)
@bundled("sampling", SamplingFlags, *SAMPLING_OPTIONS)
@bundled("view", View, *VIEW_OPTIONS)
def generate(
    source: Source, target: Target, ending: EndFlags, sampling: SamplingFlags, view: View
) -> None:
    """Complete PROMPT and print the text as it comes.

    PROMPT is an argument, or stdin where it is "-" or absent in a pipe; "" starts afresh. What no
    option sets comes from the model's generation_config.json. Ctrl-C ends the text where it is
    (exit code 130); pressed again, it kills.

    With --json: text, token_ids, finish_reason ("eos", "stop", "length", "cancelled"), logprobs,
    top_logprobs, timing, seed, prompt and settings; with --num-return-sequences above 1, a list
    "completions" of them.

    \b
    Examples:
      gpt2edge generate "Once upon a time"
      gpt2edge generate -n 60 --temperature 0.8 --top-p 0.95 --seed 7 "Once upon a time"
      gpt2edge generate -m models/gpt2 --temperature 0 --json "The capital of France is"
      cat draft.txt | gpt2edge generate --stop $'\\n\\n' --verbose
      gpt2edge generate -m models/sorter --token-ids "2 0 1" -n 3
    """
    prompt = source.prompt()
    engine = target.load()
    settings = resolve(sampling, ending, engine)
    if view.n > 1 and settings.sampling.is_greedy:
        raise ValueError(
            f"{view.n} greedy completions would all be the same: pass --temperature, such as 0.8"
        )
    stream = engine.stream_batch(
        [prompt],
        n=view.n,
        max_new_tokens=settings.max_new_tokens,
        sampling=settings.sampling,
        stop=settings.stop,
        logprobs=view.logprobs,
    )
    with _cancelled_by_interrupt(stream):
        view.announce(settings)
        show = _show_batch if view.n > 1 else _show_single
        completions = show(engine, prompt, stream, view)
    if view.as_json:
        print_json(_report(completions, settings))
    if view.verbose:
        note(_timing(completions))
    if any(completion.finish_reason == "cancelled" for completion in completions):
        click.get_current_context().exit(INTERRUPTED)


def _show_single(
    engine: "Engine", prompt: "Prompt", stream: "Stream", view: View
) -> "list[Completion]":
    """One completion, shown while it is made unless the view wants it whole."""
    printer = _Printer(engine, view)
    if not view.as_json and view.logprobs is None:
        printer.prompt(prompt)
    for chunk in stream:
        if view.stream and not view.as_json:
            printer.chunk(chunk)
    if not view.as_json:
        printer.finish(stream.completion)
    return stream.completions


def _show_batch(
    engine: "Engine", prompt: "Prompt", stream: "Stream", view: View
) -> "list[Completion]":
    """Several completions, shown under numbered headings when all have ended."""
    for _ in stream:
        pass
    for completion in () if view.as_json else stream.completions:
        click.secho(f"--- {completion.index + 1} of {view.n} ---", bold=True)
        printer = _Printer(engine, view)
        if view.logprobs is None:
            printer.prompt(prompt)
        printer.finish(completion)
    return stream.completions


class _Printer:
    """Writes one completion to stdout: text, token ids, or a line for each token."""

    def __init__(self, engine: "Engine", view: View) -> None:
        self._tokenizer = engine.tokenizer
        self._view = view
        self._tokens = 0
        self._characters = 0

    def prompt(self, prompt: "Prompt") -> None:
        if self._view.echoes:
            click.secho(self._text(prompt), nl=False, bold=True)

    def chunk(self, chunk: "Chunk") -> None:
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
        """What has not been printed yet, and the last newline."""
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
        return self._tokenizer.decode(prompt)


@contextmanager
def _cancelled_by_interrupt(stream: "Stream") -> Iterator[None]:
    """The first Ctrl-C ends the completion, the second the process."""

    def cancel(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        stream.cancel()

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # ignored under nohup, or not ours to take
        return
    signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _report(completions: "Sequence[Completion]", settings: Settings) -> dict[str, Any]:
    first = completions[0]
    values = {**settings.values, "seed": first.seed}
    shared = {"prompt": first.prompt, "seed": first.seed, "settings": values}
    if len(completions) == 1:
        return {**_fields(first), **shared}
    return {"completions": [_fields(completion) for completion in completions], **shared}


def _fields(completion: "Completion") -> dict[str, Any]:
    timing = completion.timing
    return {
        "text": completion.text,
        "token_ids": completion.token_ids,
        "finish_reason": completion.finish_reason,
        "logprobs": completion.logprobs,
        "top_logprobs": [[asdict(top) for top in tops] for tops in completion.top_logprobs],
        "timing": {
            **asdict(timing),
            "tpot_ms": timing.tpot_ms,
            "decode_tps": timing.decode_tps,
        },
    }


def _timing(completions: "Sequence[Completion]") -> str:
    timing = completions[0].timing
    tokens = sum(completion.timing.completion_tokens for completion in completions)
    seconds = max(item.timing.ttft_s + item.timing.decode_s for item in completions)
    speed = tokens / seconds if seconds else 0.0  # none where Ctrl-C came before the first token
    facts = [
        ("seed", "none, greedy" if completions[0].seed is None else completions[0].seed),
        ("finish", ", ".join(completion.finish_reason for completion in completions)),
        ("load", f"{timing.load_s:.3f} s"),
        ("prompt", f"{timing.prompt_tokens} tokens"),
        ("TTFT", f"{1e3 * timing.ttft_s:.1f} ms"),
        ("TPOT", f"{timing.tpot_ms:.2f} ms, {timing.decode_tps:.1f} tokens/s"),
        ("total", f"{tokens} tokens in {seconds:.3f} s, {speed:.1f} tokens/s"),
    ]
    return "\n".join(aligned(facts))
