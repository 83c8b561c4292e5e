"""The loop of ``gpt2edge play``: the story on stdout, everything else on stderr."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gpt2edge.cli.display.interrupts import cancelled_by_interrupt
from gpt2edge.cli.display.line_reader import LineReader
from gpt2edge.cli.display.output import aligned, counted, note
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.display.story import Story
from gpt2edge.cli.options.common import checked
from gpt2edge.errors import Gpt2EdgeError

if TYPE_CHECKING:
    from gpt2edge.runtime.results import Completion

_HELP: Final = (
    ("text", r"add it to the story and let the model go on; \n begins a new line"),
    ("Enter alone", "let the model go on"),
    ("/retry", "another answer in place of the last one"),
    ("/undo", "take the last turn back"),
    ("/branch [N]", "choose among N answers (4)"),
    ("/edit", "edit the whole story in $EDITOR"),
    ("/set NAME VALUE", "change a setting, such as temperature 0.9; /set alone lists them"),
    ("/text", "show the whole story"),
    ("/save FILE", "save it"),
    ("/quit", "leave, as Ctrl-D does; Ctrl-C stops an answer"),
)
_BRANCHES: Final = 4
_MOST_BRANCHES: Final = 64


class PlaySession:
    """One session: reads lines, obeys commands, lets the model answer."""

    def __init__(self, story: Story, reader: LineReader, *, verbose: bool) -> None:
        self._story = story
        self._reader = reader
        self._verbose = verbose
        self._commands: dict[str, Callable[[str], None]] = {
            "/retry": self._retry,
            "/undo": self._undo,
            "/branch": self._branch,
            "/edit": self._edit,
            "/set": self._set,
            "/text": self._show,
            "/save": self._save,
            "/help": self._help,
        }

    def run(self, beginning: str | None) -> None:
        """Answer ``beginning`` if there is one, then every line, until stdin ends."""
        if beginning is None:
            note("Write a beginning, or press Enter. /help lists the commands; Ctrl-D leaves.")
        else:
            self._take(beginning)
        while True:
            try:
                line = self._reader.read("> ")
                if line is None or line.strip() in ("/quit", "/exit", "/q"):
                    return
                self._obey(line)
            except KeyboardInterrupt:
                note("\nCtrl-D or /quit leaves")
            except (Gpt2EdgeError, ValueError) as error:
                note(str(error))
            except OSError as error:
                note(f"{error.filename or ''}: {error.strerror or error}")

    def _obey(self, line: str) -> None:
        name, _, rest = line.strip().partition(" ")
        if not line.startswith("/") or line.startswith("//"):
            self._take(checked(line.removeprefix("/") if line[:1] == "/" else line, escape=True))
        elif name in self._commands:
            self._commands[name](rest.strip())
        else:
            alike = get_close_matches(name, self._commands, n=1)
            meant = f"did you mean {alike[0]}?" if alike else "/help lists the commands"
            note(f"no command {name!r}; {meant} A text that begins with '/' is written as '//'")

    def _take(self, text: str) -> None:
        self._story.write(text)
        try:
            self._answer()
        except (Gpt2EdgeError, ValueError):
            self._story.turns.pop()
            raise

    def _answer(self) -> None:
        """Print an answer as it is written; Ctrl-C keeps what there is."""
        stream = self._story.answer()
        with cancelled_by_interrupt(stream):
            begun = False
            for chunk in stream:
                text = chunk.text if begun else chunk.text.lstrip(" ")
                begun = begun or bool(text)
                click.echo(text, nl=False)
        completion = stream.completions[0]
        self._finish(completion)
        self._story.accept(completion)
        if completion.truncated:
            note("the beginning no longer fits the model's context: it reads the newer part")
        if self._verbose:
            self._tell(completion)

    def _finish(self, completion: "Completion") -> None:
        if completion.finish_reason == "eos" and not completion.text:
            note("the model ends the text here: /retry, or write on")
        else:
            click.echo()

    def _tell(self, completion: "Completion") -> None:
        timing = completion.timing
        new = timing.prompt_tokens - timing.reused_tokens
        note(
            f"{counted(new, 'token')} read and {timing.reused_tokens:,} known, "
            f"{counted(timing.completion_tokens, 'token')} written in "
            f"{timing.ttft_s + timing.decode_s:.2f} s"
        )

    def _last(self) -> None:
        if not self._story.turns:
            raise ValueError("there is no story yet: write a beginning")

    def _retry(self, _: str) -> None:
        self._last()
        self._answer()

    def _undo(self, _: str) -> None:
        self._last()
        self._story.turns.pop()
        end = self._story.text[-300:]
        note(f"... {end}" if end else "the story is empty")

    def _branch(self, count: str) -> None:
        self._last()
        n = _BRANCHES if not count else int(count) if count.isdecimal() else 0
        if not 2 <= n <= _MOST_BRANCHES:
            raise ValueError(f"/branch {count}: give a number from 2 to {_MOST_BRANCHES}")
        stream = self._story.answer(n)
        with watched("writing"), cancelled_by_interrupt(stream):
            answers = stream.finish()
        for number, answer in enumerate(answers, 1):
            note(click.style(f"{number}  ", bold=True) + answer.text.strip())
        chosen = self._reader.read(f"1 to {n}, or Enter for none: ") or ""
        if chosen.strip().isdecimal() and 1 <= int(chosen) <= n:
            self._story.accept(answers[int(chosen) - 1])
            click.echo(answers[int(chosen) - 1].text.lstrip(" "))

    def _edit(self, _: str) -> None:
        edited = click.edit(self._story.text, extension=".txt")
        if edited is None:
            note("nothing was changed")
            return
        self._story.replace_text(edited.removesuffix("\n"))
        note("the story is what you saved; Enter goes on")

    def _set(self, given: str) -> None:
        name, _, value = given.partition(" ")
        if not given:
            note("\n".join(aligned(self._story.settings().items())))
        elif not value and name != "stop":
            raise ValueError("write /set NAME VALUE, such as /set temperature 0.9")
        else:
            self._story.set(name, checked(value.strip(), escape=True))
            note(f"{name} {self._story.settings()[name]}")

    def _show(self, _: str) -> None:
        click.echo(self._story.text)

    def _save(self, path: str) -> None:
        from gpt2edge._files import write_whole

        if not path:
            raise ValueError("write /save FILE")
        write_whole(Path(path).expanduser(), self._story.text + "\n")
        note(f"saved to {path}")

    def _help(self, _: str) -> None:
        note("\n".join(aligned(_HELP)))
