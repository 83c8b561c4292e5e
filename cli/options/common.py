"""Shared by several commands: the model options, options bundled into records, reading text."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

from gpt2edge._text import text_of
from gpt2edge.cli.display.output import is_terminal
from gpt2edge.cli.display.progress import watched
from gpt2edge.cli.help import BASIC, OUTPUT, SPEED, AnyFunction, Decorator, section
from gpt2edge.cli.options.names import MODEL, PROVIDER
from gpt2edge.cli.preload import Loading, Preload, take

if TYPE_CHECKING:
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.options import RuntimeOptions

_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
_ESCAPE: Final = re.compile(r"\\([nrt\\])")
LARGEST_PROMPT: Final = 1 << 24
"""Bytes of a prompt from stdin; far more than any context holds."""
LARGEST_TEXT: Final = 1 << 28
"""Bytes of a text to measure; more is hours of work."""

_basic = section(BASIC)
_speed = section(SPEED)

model_option: Final = _basic(
    "-m",
    "--model",
    type=MODEL,
    metavar="MODEL",
    common=True,
    help="Model folder, or name of a pulled model.  [default: the bundled storyteller]",
)
threads_option: Final = _speed(
    "-t",
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    common=True,
    help="Number of threads.  [default: physical cores]",
)
verify_option: Final = _basic(
    "--verify/--no-verify",
    default=True,
    help="Check the files' checksums while loading, except files unchanged since an earlier check.",
)
provider_option: Final = _speed(
    "--provider",
    "providers",
    multiple=True,
    type=PROVIDER,
    metavar="NAME[:KEY=VALUE,...]",
    help="ONNX Runtime execution provider, such as openvino or cuda:device_id=0, for models of "
    "profile portable. Repeatable, in order of preference.  [default: cpu]",
)
json_option: Final = section(OUTPUT)(
    "--json", "as_json", is_flag=True, common=True, help="Print one JSON object."
)
add_bos_option: Final = _basic(
    "--add-bos/--no-add-bos",
    default=None,
    help="Prepend the begin-of-text token to texts, not to token ids.  [default: as the "
    "tokenizer's template says]",
)
ids_option: Final = _basic(
    "--token-ids", is_flag=True, help='Read texts as token ids, such as "1 2 3".'
)


file_option: Final = _basic(
    "-f",
    "--file",
    metavar="FILE",
    common=True,
    help="Read the prompt from FILE; - is stdin.",
)


def bundled(name: str, record: type[Any], *options: Decorator) -> Decorator:
    """Give a command one argument ``name``: a ``record`` whose fields are those ``options``.

    A field without an option keeps its default.
    """
    names = [field.name for field in fields(record)]

    def decorate(command: AnyFunction) -> AnyFunction:
        @wraps(command)
        def with_record(**values: Any) -> Any:
            values[name] = record(**{key: values.pop(key) for key in names if key in values})
            return command(**values)

        decorated: AnyFunction = with_record
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The prompt: an argument, a file or stdin; a text or token ids."""

    given: str | None
    file: str | None = None
    token_ids: bool

    def prompt(self) -> str | list[int]:
        """Return the argument, the file, or stdin if it is ``-`` or absent in a pipe.

        One newline at the end of a file or of stdin is not part of the prompt.
        """
        text = self._text()
        return parse_ids(text) if self.token_ids else text

    def check_absent(self, other: str) -> None:
        """Raise UsageError where a prompt is given beside the option ``other``."""
        if self.given is not None or self.file is not None:
            raise click.UsageError(f"give either PROMPT or {other}.")

    def _text(self) -> str:
        if self.file is not None:
            if self.given is not None:
                raise click.UsageError("give either PROMPT or --file.")
            return read_file(self.file, LARGEST_PROMPT).removesuffix("\n")
        if self.given is None and (sys.stdin is None or is_terminal(sys.stdin)):
            raise click.UsageError(
                "Missing argument 'PROMPT': give a text, '' for an empty prompt, or pipe one in."
            )
        if self.given is None or self.given == "-":
            return read_stdin().removesuffix("\n")
        return checked(self.given)

    @staticmethod
    def options(*, required: bool = False) -> Decorator:
        """Return the decorator for a command that takes ``source``.

        Where a prompt is ``required``, it is an argument.
        """
        metavar = "PROMPT" if required else "[PROMPT]"
        argument = click.argument("given", metavar=metavar, required=required)
        file = () if required else (file_option,)
        return bundled("source", Source, argument, *file, ids_option)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The model, its threads and providers, and how it reads a text."""

    model: Path | None
    threads: int | None
    providers: tuple[str, ...]
    verify: bool
    add_bos: bool | None

    def load(self, change: "Callable[[RuntimeOptions], RuntimeOptions] | None" = None) -> "Engine":
        """Load the engine, with options that ``change`` may replace."""
        wanted = Preload(self.model, self.threads, self.providers, self.verify, self.add_bos)
        with watched(f"loading {self.model or 'the bundled model'}"):
            return (Loading(wanted, change) if change else take(wanted)).engine()

    @staticmethod
    def options() -> Decorator:
        """Return the decorator for a command that takes ``target``."""
        options = (model_option, threads_option, provider_option, verify_option, add_bos_option)
        return bundled("target", Target, *options)


def read_texts(given: Sequence[str], *, token_ids: bool) -> list[str | list[int]]:
    """Read texts from arguments, or token ids if ``token_ids``."""
    return [parse_ids(text) if token_ids else checked(text) for text in given]


def read_stdin() -> str:
    """Read a prompt from stdin."""
    return _read(_stdin(), "stdin", LARGEST_PROMPT)


def read_file(path: str, limit: int | None = None) -> str:
    """Read a text file of at most ``limit`` bytes, or stdin for ``-``."""
    limit = limit or LARGEST_TEXT
    if path == "-":
        return _read(_stdin(), "stdin", limit)
    with Path(path).open("rb") as file:
        return _read(file, path, limit)


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise ValueError("stdin is closed: give the text as an argument, or pipe it in")
    return sys.stdin.buffer


def _read(file: BinaryIO, origin: str, limit: int) -> str:
    """Decode by ``text_of``'s rule. Raises ValueError above ``limit`` bytes."""
    data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{origin} holds more than {limit:,} bytes; give a shorter text")
    return text_of(data, origin)


def parse_ids(text: str) -> list[int]:
    """Parse token ids: whole numbers separated by blanks or commas."""
    words = text.replace(",", " ").split()
    wrong = next((word for word in words if not (word.isascii() and word.isdecimal())), None)
    if wrong is not None:
        raise ValueError(f"{wrong[:40]!r} is not a token id; give whole numbers, such as '1 2 3'")
    return [int(word) for word in words]


def checked(text: str, *, escape: bool = False) -> str:
    """Return an argument's text; with ``escape``, backslash escapes are interpreted as in C.

    Raises ValueError if its bytes are not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("an argument is not UTF-8 text") from None
    return _ESCAPE.sub(lambda found: _ESCAPES[found[1]], text) if escape else text
