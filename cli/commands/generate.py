"""``gpt2edge generate``."""

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import click

from gpt2edge.cli.display.completion import CompletionView, Printer
from gpt2edge.cli.display.completion_report import explain, report
from gpt2edge.cli.display.output import counted, note, print_json
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import BASIC, OUTPUT, command, section
from gpt2edge.cli.names import INTERRUPTED
from gpt2edge.cli.options.common import Source, Target, bundled, json_option
from gpt2edge.cli.options.json_lines import Asked, read_prompts
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
    from gpt2edge.runtime.decoding.stream import Stream
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.results import Chunk, Completion

_output = section(OUTPUT)
VIEW_OPTIONS: Final = (
    section(BASIC)(
        "--prompts",
        metavar="FILE",
        help='Complete each line of FILE, a JSON object with "prompt" and maybe "id"; - is stdin.',
    ),
    _output(
        "--samples",
        "n",
        type=click.IntRange(1, 1024),
        default=1,
        metavar="N",
        common=True,
        help="Generate N completions of a prompt.",
    ),
    _output(
        "--logprobs",
        type=int,
        metavar="N",
        help="Show each token's log-probability and the N most likely alternatives.",
    ),
    json_option,
    _output(
        "--stream/--no-stream",
        default=True,
        help="Print tokens as they arrive, or the whole text at the end.",
    ),
    _output(
        "--echo/--no-echo",
        default=None,
        common=True,
        help="Print the prompt, too.  [default: echo on a terminal]",
    ),
    _output("--special", is_flag=True, help="Show special tokens, such as the end-of-text token."),
    _output(
        "-v",
        "--verbose",
        is_flag=True,
        common=True,
        help="Explain the settings and the timing on stderr.",
    ),
)


@command()
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
    """Complete PROMPT, printing the text as it is generated.

    \b
    Examples:
      gpt2edge "Once upon a time"
      gpt2edge generate -n 60 --temperature 0.7 --seed 7 "Once upon a time"
      gpt2edge generate -m models/gpt2 -n -1 --stop $'\\n\\n' -f draft.txt

    PROMPT is an argument; "-", or no PROMPT in a pipe, reads stdin. Ctrl-C stops the completion.

    ---
    An empty prompt starts from the begin-of-text token. A model whose generation_config.json does
    not say how to decode samples on a terminal (temperature 0.8, top-p 0.95), and anywhere with
    --samples or an option that only sampling uses; else it decodes greedily. After Ctrl-C the exit
    code is 130; a second Ctrl-C ends the process.

    With --json: prompt, text, token_ids, finish_reason ("eos", "stop", "length", "time",
    "cancelled"), truncated (tokens were dropped to fit the context), index, seed, score (of beam
    search), logprobs, top_logprobs, timing and settings; with --samples above 1, a list
    "completions". With --prompts, one line for each prompt, with its "id" if it has one.

    \b
    More examples:
      gpt2edge generate -m models/gpt2 --temperature 0 --json "The capital of France is"
      cat draft.txt | gpt2edge generate --verbose
      gpt2edge generate --prompts prompts.jsonl --json > completions.jsonl
      gpt2edge generate --num-beams 4 --no-repeat-ngram-size 3 "The king"
      gpt2edge generate --overflow slide --keep 8 -n 3000 "Once upon a time"
      gpt2edge generate --prompt-cache rules.cache --prompt-lookup "$(cat rules.txt) $QUESTION"
      gpt2edge generate -m models/sorter --token-ids "2 0 1" -n 3
    """
    prompts = read_prompts(source, view.prompts)
    engine = shortcuts.load(target)
    settings = resolve(sampling, ending, engine, extent, sample=view.reason_to_sample)
    stream = _started(engine, prompts, settings, view)
    with _cancelled_by_interrupt(stream):
        view.announce(settings)
        if view.prompts is None and view.n == 1:
            completions = _show_single(engine, prompts[0], stream, view, settings)
        else:
            completions = _show_batch(engine, prompts, stream, view, settings)
    shortcuts.save(engine, completions)
    if view.verbose and completions:
        note(explain(completions))
    if any(completion.finish_reason == "cancelled" for completion in stream.completions):
        click.get_current_context().exit(INTERRUPTED)


def _started(
    engine: "Engine", prompts: Sequence[Asked], settings: Settings, view: CompletionView
) -> "Stream[list[Completion]]":
    """Return the stream of all completions. Raises ValueError if they would all be the same."""
    if view.n > 1 and settings.sampling.num_beams == 1 and settings.sampling.is_greedy:
        raise ValueError(
            f"{view.n} greedy completions would all be the same: pass --temperature, such as 0.8, "
            "or --num-beams"
        )
    return engine.stream_batch(
        [asked.prompt for asked in prompts],
        n=view.n,
        max_new_tokens=settings.max_new_tokens,
        sampling=settings.sampling,
        stop=settings.stop,
        logprobs=view.logprobs,
        overflow=settings.overflow,
        skip_special_tokens=not view.special,
    )


def _show_single(
    engine: "Engine", asked: Asked, stream: "Stream[Any]", view: CompletionView, settings: Settings
) -> "list[Completion]":
    """Show one completion, token by token if the view streams."""
    printer = Printer(engine, view)
    shown = view.stream and not view.as_json
    first = _awaited(stream, 1 if shown else None)  # the wait is shown where the prompt will be
    if not view.as_json and view.logprobs is None:
        printer.prompt(asked.prompt)
    for chunk in chain(first, stream):
        if shown:
            printer.chunk(chunk)
    if view.as_json:
        print_json(report(stream.completions, settings))
    else:
        printer.finish(stream.completion)
    return stream.completions


def _show_batch(
    engine: "Engine",
    prompts: Sequence[Asked],
    stream: "Stream[Any]",
    view: CompletionView,
    settings: Settings,
) -> "list[Completion]":
    """Show the completions of each prompt, in the order of the prompts, as soon as all have ended.

    Prompts that Ctrl-C left without a token are counted, not shown.
    """
    left = deque(zip(prompts, stream.requests, strict=True))
    found: list[Completion] = []

    def show() -> None:
        asked, request = left.popleft()
        completions = request.completions
        found.extend(completions)
        if view.as_json:
            named = {} if asked.id is None else {"id": asked.id}
            print_json({**named, **report(completions, settings)})
        else:
            _show_texts(engine, asked, completions, view, (len(prompts) - len(left), len(prompts)))

    with watched("reading the prompts") as progress:
        if progress is not None:
            stream.on_prefill(partial(progress, "reading the prompts"))
        for count, chunk in enumerate(stream, 1):
            if progress is not None:
                progress(f"writing, {count:,} tokens so far", 0, 0)
            while chunk.finish_reason and left and left[0][1].is_finished:
                show()
    while left and (left[0][1].has_begun or len(prompts) == 1):
        show()
    if left:
        note(f"{counted(len(left), 'prompt')} of {len(prompts):,} not reached")
    return found


def _show_texts(
    engine: "Engine",
    asked: Asked,
    completions: "Sequence[Completion]",
    view: CompletionView,
    place: tuple[int, int],
) -> None:
    """Print each text under a heading with its number."""
    for completion in completions:
        number = f"{completion.index + 1} of {view.n}"
        if view.prompts is not None:
            prompt = f"prompt {place[0]:,} of {place[1]:,}"
            number = prompt if view.n == 1 else f"{prompt}, sample {number}"
        click.secho(f"--- {number} ---", bold=True)
        printer = Printer(engine, view)
        if view.logprobs is None:
            printer.prompt(asked.prompt)
        printer.finish(completion)


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
