"""``gpt2edge play``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gpt2edge.cli.help import OUTPUT, command, section
from gpt2edge.cli.options.common import Target, bundled, checked
from gpt2edge.cli.options.sampling import (
    END_OPTIONS,
    SAMPLING_OPTIONS,
    EndFlags,
    ExtentFlags,
    SamplingFlags,
)

if TYPE_CHECKING:
    from gpt2edge.runtime.options import RuntimeOptions

_CACHE_BYTES: Final = 1 << 28
_NO_BEAMS: Final = ExtentFlags(
    num_beams=1, length_penalty=None, early_stopping=None, max_time=None, overflow="slide", keep=0
)
_output = section(OUTPUT)


@command()
@click.argument("prompt", required=False)
@Target.options()
@bundled("ending", EndFlags, *END_OPTIONS)
@bundled("sampling", SamplingFlags, *SAMPLING_OPTIONS)
@_output(
    "--history/--no-history",
    default=True,
    help="Keep the lines you write, for the arrow keys, in a file that only you can read.",
)
@_output("-v", "--verbose", is_flag=True, common=True, help="Tell what each turn cost on stderr.")
def play(
    prompt: str | None,
    target: Target,
    ending: EndFlags,
    sampling: SamplingFlags,
    history: bool,
    verbose: bool,
) -> None:
    """Write a story with the model, turn by turn.

    What you type is added to the story, and the model goes on from there. Enter alone lets it go on
    once more.

    \b
      /retry      another answer            /edit              edit the whole story
      /undo       take the last turn back   /set temperature 0.9
      /branch     choose among answers      /save FILE, /text, /help, /quit

    \b
    Examples:
      gpt2edge play
      gpt2edge play -n 40 --temperature 0.9 "The wolf said"

    ---
    The keys and values of the story stay in memory, so that a turn reads only what is new since the
    last one. Past the model's context the story goes on from its newer half. Ctrl-C stops an answer
    and keeps what was written. With --seed the same lines make the same story. Lines are kept in
    play_history in GPT2EDGE_STATE, by default gpt2edge in XDG_STATE_HOME or ~/.local/state.
    """
    from gpt2edge.cli.display.line_reader import LineReader
    from gpt2edge.cli.display.play_session import PlaySession
    from gpt2edge.cli.display.story import Story
    from gpt2edge.cli.options.settings import resolve

    beginning = None if prompt is None else checked(prompt, escape=ending.escape)
    engine = target.load(_with_cache)
    settings = resolve(sampling, ending, engine, _NO_BEAMS, sample="for play")
    reader = LineReader(_history_file() if history else None)
    try:
        PlaySession(Story(engine, settings), reader, verbose=verbose).run(beginning)
    finally:
        reader.close()


def _with_cache(options: "RuntimeOptions") -> "RuntimeOptions":
    return replace(options, prompt_cache_bytes=_CACHE_BYTES)


def _history_file() -> Path:
    from gpt2edge._user_dirs import user_dir

    folder = user_dir(
        "gpt2edge", variable="GPT2EDGE_STATE", xdg="XDG_STATE_HOME", fallback=".local/state"
    )
    return folder / "play_history"
