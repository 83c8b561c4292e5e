"""``gpt2edge generate``."""

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from gpt2edge.cli.display.completion import CompletionView, Printer
from gpt2edge.cli.display.output import aligned, counted, note, print_json
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.names import INTERRUPTED
from gpt2edge.cli.options.common import Source, Target, bundled, json_option
from gpt2edge.cli.options.sampling import (
    END_OPTIONS,
    EXTENT_OPTIONS,
    SAMPLING_OPTIONS,
    EndFlags,
    ExtentFlags,
    SamplingFlags,
)
from gpt2edge.cli.options.settings import Settings, resolve
from gpt2edge.cli.options.speculation import SHORTCUT_OPTIONS, Shortcuts

if TYPE_CHECKING:
    from gpt2edge.runtime.decoding.request import Prompt
    from gpt2edge.runtime.decoding.stream import Stream
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.results import Chunk, Completion


VIEW_OPTIONS = (
    click.option(
        "--samples",
        "n",
        type=click.IntRange(1, 1024),
        default=1,
        metavar="N",
        help="Generate N completions in one batch.",
    ),
    click.option(
        "--logprobs",
        type=int,
        metavar="N",
        help="Show each token's log-probability and the N most likely alternatives.",
    ),
    json_option,
    click.option(
        "--stream/--no-stream",
        default=True,
        help="Print tokens as they arrive, or the whole text at the end.  [default: stream]",
    ),
    click.option(
        "--echo/--no-echo",
        default=None,
        help="Print the prompt before the completion.  [default: on a terminal]",
    ),
    click.option(
        "--special", is_flag=True, help="Show special tokens, such as the end-of-text token."
    ),
    click.option(
        "-v", "--verbose", is_flag=True, help="Show settings, their origins and timing on stderr."
    ),
)


@click.command()
@Source.options()
@Target.options()
@bundled("ending", EndFlags, *END_OPTIONS)
@bundled("sampling", SamplingFlags, *SAMPLING_OPTIONS)
@bundled("extent", ExtentFlags, *EXTENT_OPTIONS)
@bundled("shortcuts", Shortcuts, *SHORTCUT_OPTIONS)
@bundled("view", CompletionView, *VIEW_OPTIONS)
def generate(
    source: Source,
    target: Target,
    ending: EndFlags,
    sampling: SamplingFlags,
    extent: ExtentFlags,
    shortcuts: Shortcuts,
    view: CompletionView,
) -> None:
    """Complete PROMPT and print the text as it is generated.

    PROMPT is an argument; "-", or no PROMPT in a pipe, reads stdin. An empty prompt starts from the
    begin-of-text token. Unset options use the model's generation_config.json. Ctrl-C stops the
    completion (exit code 130); a second Ctrl-C ends the process.

    With --json: text, token_ids, finish_reason ("eos", "stop", "length", "time", "cancelled"),
    truncated (tokens were dropped to fit the context), score (of beam search), logprobs,
    top_logprobs, timing, seed, prompt and settings; with --samples above 1, a list
    "completions".

    \b
    Examples:
      gpt2edge generate "Once upon a time"
      gpt2edge generate -n 60 --temperature 0.8 --top-p 0.95 --seed 7 "Once upon a time"
      gpt2edge generate -m models/gpt2 --temperature 0 --json "The capital of France is"
      cat draft.txt | gpt2edge generate --stop $'\\n\\n' --verbose
      gpt2edge generate --num-beams 4 --no-repeat-ngram-size 3 "The king"
      gpt2edge generate --overflow slide --keep 8 -n 3000 "Once upon a time"
      gpt2edge generate --prompt-cache rules.cache --prompt-lookup "$(cat rules.txt) $QUESTION"
      gpt2edge generate -m models/sorter --token-ids "2 0 1" -n 3
    """
    prompt = source.prompt()
    engine = shortcuts.load(target)
    settings = resolve(sampling, ending, engine, extent)
    if view.n > 1 and settings.sampling.num_beams == 1 and settings.sampling.is_greedy:
        raise ValueError(
            f"{view.n} greedy completions would all be the same: pass --temperature, such as 0.8, "
            "or --num-beams"
        )
    stream = engine.stream_batch(
        [prompt],
        n=view.n,
        max_new_tokens=settings.max_new_tokens,
        sampling=settings.sampling,
        stop=settings.stop,
        logprobs=view.logprobs,
        overflow=settings.overflow,
        skip_special_tokens=not view.special,
    )
    with _cancelled_by_interrupt(stream):
        view.announce(settings)
        show = _show_batch if view.n > 1 else _show_single
        completions = show(engine, prompt, stream, view)
    if view.as_json:
        print_json(_report(completions, settings))
    shortcuts.save(engine, completions[0].timing)
    if view.verbose:
        note(_timing(completions))
    if any(completion.finish_reason == "cancelled" for completion in completions):
        click.get_current_context().exit(INTERRUPTED)


def _show_single(
    engine: "Engine", prompt: "Prompt", stream: "Stream[Any]", view: CompletionView
) -> "list[Completion]":
    """Show one completion, token by token if the view streams."""
    printer = Printer(engine, view)
    shown = view.stream and not view.as_json
    first = _awaited(stream, 1 if shown else None)  # the wait is shown where the prompt will be
    if not view.as_json and view.logprobs is None:
        printer.prompt(prompt)
    for chunk in chain(first, stream):
        if shown:
            printer.chunk(chunk)
    if not view.as_json:
        printer.finish(stream.completion)
    return stream.completions


def _show_batch(
    engine: "Engine", prompt: "Prompt", stream: "Stream[Any]", view: CompletionView
) -> "list[Completion]":
    """Show several completions under numbered headings once all have ended."""
    _awaited(stream)
    for completion in () if view.as_json else stream.completions:
        click.secho(f"--- {completion.index + 1} of {view.n} ---", bold=True)
        printer = Printer(engine, view)
        if view.logprobs is None:
            printer.prompt(prompt)
        printer.finish(completion)
    return stream.completions


def _awaited(stream: "Stream[Any]", most: int | None = None) -> "Sequence[Chunk]":
    """Wait for the first ``most`` chunks, or all, with progress; return the last one."""
    chunks = islice(stream, most)
    with watched("reading the prompt") as progress:
        if progress is None:
            return deque(chunks, maxlen=1)
        stream.on_prefill(partial(progress, "reading the prompt"))
        last: deque[Chunk] = deque(maxlen=1)
        for count, chunk in enumerate(chunks, 1):
            progress(f"writing, {count:,} tokens so far", 0, 0)
            last.append(chunk)
        return last


@contextmanager
def _cancelled_by_interrupt(stream: "Stream[Any]") -> Iterator[None]:
    """Cancel the stream at the first Ctrl-C, end the process at the second."""

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
        "truncated": completion.truncated,
        "score": completion.score,
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
    cut = ", truncated" if any(completion.truncated for completion in completions) else ""
    facts = [
        ("seed", "none" if completions[0].seed is None else completions[0].seed),
        ("finish", ", ".join(completion.finish_reason for completion in completions) + cut),
        ("load", f"{timing.load_s:.3f} s"),
        (
            "prompt",
            f"{counted(timing.prompt_tokens, 'token')}, {timing.reused_tokens} of them known",
        ),
        ("guesses", f"{timing.accepted_tokens} of {timing.guessed_tokens} right"),
        ("TTFT", f"{1e3 * timing.ttft_s:.1f} ms"),
        ("TPOT", f"{timing.tpot_ms:.2f} ms, {timing.decode_tps:.1f} tokens/s"),
        ("total", f"{counted(tokens, 'token')} in {seconds:.3f} s, {speed:.1f} tokens/s"),
    ]
    return "\n".join(aligned(facts))
