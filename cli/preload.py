"""Loading: start loading a command's model before click has parsed the arguments.

onnxruntime packs weights without Python, but needs numpy and the model's name. The entry point
reads those from plain arguments and starts loading in a thread while click and the commands are
imported. A command takes the preload over if it wants the same model and options. Otherwise the
preload is discarded silently.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gpt2edge.errors import Gpt2EdgeError

if TYPE_CHECKING:
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.options import RuntimeOptions

_NO_BLAS_THREADS: Final = ("OPENBLAS_NUM_THREADS", "1")
"""numpy multiplies no matrices in an engine; the threads it starts for that spin for 40 ms."""

_COMMANDS: Final = ("generate", "solve", "branch", "score", "perplexity")
"""Commands that load ``Target``'s model."""
_READ: Final = {"-m": "model", "--model": "model", "-t": "threads", "--threads": "threads"}
_ADD_BOS: Final = {"--add-bos": True, "--no-add-bos": False}
_UNREAD: Final = (
    *("-h", "--help", "--help-all", "--no-verify", "--provider"),
    *("--prompt-cache", "--prompt-lookup", "--draft-model"),
)
"""Options with which a command loads nothing, or something else."""


class Preload(NamedTuple):
    """The model, how it runs and how it reads a text, from the command line."""

    model: Path | None = None
    threads: int | None = None
    providers: tuple[str, ...] = ()
    verify: bool = True
    add_bos: bool | None = None


class Loading:
    """Hash the files while the libraries load, then create the session in a thread.

    ``change`` makes the engine's options from those that are ``wanted``. Raises ModelDirError or
    ValueError where the folder or the options are wrong.
    """

    def __init__(
        self,
        wanted: Preload,
        change: "Callable[[RuntimeOptions], RuntimeOptions] | None" = None,
    ) -> None:
        os.environ.setdefault(*_NO_BLAS_THREADS)
        model = open_model(wanted.model)
        with ExitStack() as check:
            if wanted.verify:
                check.enter_context(model.verified())
            from gpt2edge.runtime.options import RuntimeOptions
            from gpt2edge.runtime.ort.background_load import BackgroundLoad

            options = RuntimeOptions(
                threads=wanted.threads,
                providers=wanted.providers,
                verify=wanted.verify,
                add_special_tokens=wanted.add_bos,
            )
            self._opening = BackgroundLoad(
                model, change(options) if change else options, verified=True
            )
            self._check = check.pop_all()

    def engine(self) -> "Engine":
        """Return the engine once its files are checked; call once."""
        with self._check:
            from gpt2edge.runtime.engine import Engine  # while the session is made

            return Engine(self._opening)


_begun: dict[Preload, Loading] = {}


def begin(args: Sequence[str]) -> None:
    """Start loading the model that ``args``, the words after the program's name, ask for."""
    with suppress(Gpt2EdgeError, ValueError, OSError):  # the command will tell
        wanted = _glance(args)
        if wanted is not None:
            _begun[wanted] = Loading(wanted)


def take(wanted: Preload) -> Loading:
    """Return the preload if it is ``wanted``, else start loading now."""
    return _begun.pop(wanted, None) or Loading(wanted)


def leave(code: int) -> None:
    """End the process at once if a preload was not used, without waiting for its threads."""
    if _begun:
        os._exit(code)


def open_model(path: Path | None) -> "ModelDir":
    """Open the model folder given, or the bundled one."""
    from gpt2edge.model_dir import ModelDir
    from gpt2edge.runtime.bundled import BUNDLED_MODEL

    return ModelDir.open(path or BUNDLED_MODEL)


def _glance(args: Sequence[str]) -> Preload | None:
    """Find the model and threads in ``args``; None if click must parse them first."""
    if not args or args[0] not in _COMMANDS:
        return None
    found = {"model": "", "threads": ""}
    add_bos = None
    words = iter(args[1:])
    for word in words:
        if word == "--":
            break
        long = word.startswith("--")
        name, _, value = word.partition("=") if long else (word[:2], "", word[2:])
        if name in _UNREAD:
            return None
        add_bos = _ADD_BOS.get(word, add_bos)
        if name in _READ:
            found[_READ[name]] = value or next(words, "")
    model, threads = found["model"], found["threads"]
    if (model and not Path(model).is_dir()) or int(threads or 1) not in range(1, 1025):
        return None  # a name in the store, or a mistake
    path, count = Path(model) if model else None, int(threads) if threads else None
    return Preload(path, count, add_bos=add_bos)
