"""Pickles read as data: an interpreter of the few instructions that plain data needs.

The format is a program for a stack machine. This interpreter makes dicts, lists, tuples, texts,
numbers and the records ``Name`` and ``Foreign`` from it, and nothing else: no name in a file leads
to an object of Python's, so that there is nothing to run. What a reader of tensors adds comes from
a table of its own functions. A file is refused once it asks for more work or memory than weights
need; any fault is an ExportError.

The instructions are described in the standard library's ``pickletools``.
"""

import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

from gpt2edge.errors import ExportError

LARGEST: Final = 1 << 25
"""Bytes of the pickles of a file: 32 MB. A GPT-2 XL with its optimizer has about 0.4 MB of them."""
_INSTRUCTIONS: Final = 1_000_000
_MEMORY: Final = 36_000_000  # bytes of the objects made, estimated
_TEXT: Final = 1 << 20
_NAME: Final = 256
_OPEN_MARKS: Final = 10_000
_NUMBER_BYTES: Final = 16
_PROTOCOL: Final = 5
_UNFIT: Final = "instructions that do not fit together"
_LARGEST_KEY: Final = 1 << 60  # below it, numbers that are keys have different hashes

_CODE: Final = (
    *("__builtin__", "builtins", "os", "posix", "nt", "sys", "subprocess", "commands", "runpy"),
    *("shutil", "socket", "pickle", "_pickle", "importlib", "ctypes", "operator", "functools"),
    *("code", "pty", "webbrowser", "asyncio", "multiprocessing", "pip", "pdb", "timeit"),
    *("torch.serialization", "torch.hub", "torch.jit", "torch.distributed"),
)
"""Modules that have no place beside weights: such a file is refused, so that its owner hears of it.
The reader's safety does not depend on this list."""
_HARMLESS: Final = ("set", "frozenset", "complex", "slice", "range")
"""Names of builtins that training objects mention; like every name, they are not looked up."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name that the file mentions: of a class, a function or a type. It is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Foreign:
    """An object that the file describes: the name of what makes it, its arguments and state."""

    name: Name
    state: Any = None


Call: TypeAlias = Callable[[tuple[Any, ...]], Any]
"""Makes a value of a call's arguments. Raises ExportError for arguments of another form."""


def _new_dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    """Return an OrderedDict's items: of no argument, or of a list of pairs (Python 2)."""
    made: dict[Any, Any] = {}
    if not args:
        return made
    if len(args) != 1 or type(args[0]) is not list:
        raise ExportError("an OrderedDict of another form")
    for pair in args[0]:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise ExportError("an OrderedDict of another form")
        made[_key(pair[0])] = pair[1]
    return made


PLAIN: Final[Mapping[Name, Call]] = {Name("collections", "OrderedDict"): _new_dict}


def no_reference(reference: Any) -> Any:
    """Refuse a persistent id, which only a file with tensors has."""
    del reference
    raise ExportError("a reference to data outside")


def _key(value: Any) -> Any:
    """Return a dict's key; a tuple is refused, as hashing tuples of tuples can take for ever."""
    if type(value) is str or (type(value) is int and abs(value) < _LARGEST_KEY):
        return value
    raise ExportError("a key that is neither a text nor a number")


class Interpreter:
    """Run the pickles that follow one another in ``file``, from where it stands.

    ``calls`` are the names that make a value, ``reference`` turns a persistent id into one. The
    limits are those of all pickles together.
    """

    def __init__(
        self,
        file: BinaryIO,
        calls: Mapping[Name, Call] = PLAIN,
        reference: Callable[[Any], Any] = no_reference,
    ) -> None:
        self._file = file
        self._calls = calls
        self._reference = reference
        self._used = 0
        self._steps = _INSTRUCTIONS
        self._memory = 0
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the next pickle's object. Raises ExportError, whatever the file holds."""
        self._stack, self._marks, self._memo = [], [], {}
        try:
            self._run()
        except (IndexError, KeyError, TypeError, struct.error, UnicodeDecodeError):
            raise ExportError(_UNFIT) from None
        if len(self._stack) != 1 or self._marks:
            raise ExportError(_UNFIT)
        return self._stack[0]

    def _run(self) -> None:
        take, steps = self._take, _STEPS
        for _ in range(self._steps):
            code = take(1)[0]
            self._steps -= 1
            if code == _STOP:
                return
            step = steps.get(code)
            if step is None:
                raise ExportError(f"an instruction that data does not need ({code:#04x})")
            step(self)
            if self._memory > _MEMORY:
                raise ExportError("more objects than weights need")
        raise ExportError("more instructions than weights need")

    def _take(self, count: int) -> bytes:
        self._used += count
        if self._used > LARGEST:
            raise ExportError(f"more than {LARGEST >> 20} MB before the tensors")
        raw = self._file.read(count)
        if len(raw) != count:
            raise ExportError("it ends in the middle")
        return raw

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _push(self, value: Any, cost: int = 8) -> None:
        self._memory += cost
        self._stack.append(value)

    def _text(self, length: int) -> None:
        if length > _TEXT:
            raise ExportError(f"a text of {length} bytes")
        text = self._take(length).decode("utf-8", "surrogatepass")
        self._push(text, sys.getsizeof(text))

    def _line(self) -> str:
        raw = self._file.readline(_NAME)
        self._used += len(raw)
        if not raw.endswith(b"\n"):
            raise ExportError("a name without an end")
        return raw[:-1].decode("utf-8", "replace")

    def _to_mark(self) -> list[Any]:
        """Return what lies above the last mark, and take the mark off."""
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def _mark(self) -> None:
        if len(self._marks) >= _OPEN_MARKS:
            raise ExportError(f"more than {_OPEN_MARKS} open lists")
        self._marks.append(self._stack)
        self._stack = []
        self._memory += 64

    def _global(self, module: str, name: str) -> None:
        harmless = module in _CODE[:2] and name in _HARMLESS
        if not harmless and any(f"{module}.".startswith(f"{code}.") for code in _CODE):
            raise ExportError(
                f"it holds code ({module}.{name}), not only weights: do not open it with a program "
                "that runs pickles"
            )
        self._push(Name(module, name), 200)

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str or len(module) + len(name) > _NAME:
            raise ExportError("a name that is no text")
        self._global(module, name)

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise ExportError(_UNFIT)
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._push(items, 40 + 8 * count)

    def _tuple_to_mark(self) -> None:
        items = tuple(self._to_mark())
        self._push(items, 40 + 8 * len(items))

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise ExportError(_UNFIT)
        self._memory += 16 * len(items)
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ExportError(_UNFIT)
        self._memory += (100 if target else 200) + 80 * (len(items) // 2)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _remember(self, number: int) -> None:
        self._memo[number] = self._stack[-1]
        self._memory += 130

    def _call(self) -> None:
        args, name = self._stack.pop(), self._stack.pop()
        if type(name) is not Name or type(args) is not tuple:
            raise ExportError("a call of what the file made itself")
        call = self._calls.get(name)
        self._push(Foreign(name, args) if call is None else call(args), 200)

    def _new_object(self) -> None:
        del self._stack[-1]  # the arguments
        name = self._stack.pop()
        if type(name) is not Name:
            raise ExportError("an object of a class that the file made itself")
        self._push(Foreign(name), 80)

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is Foreign:
            target.state = state
        elif type(target) is not dict:  # an OrderedDict has the versions of its modules here
            raise ExportError("a state of what has none")

    def _long(self) -> None:
        length = self._take(1)[0]
        if length > _NUMBER_BYTES:
            raise ExportError(f"a number of {length} bytes")
        self._push(int.from_bytes(self._take(length), "little", signed=True), 40)

    def _header(self) -> None:
        protocol = self._take(1)[0]
        if protocol > _PROTOCOL:
            raise ExportError(f"a pickle of protocol {protocol}")


_STOP: Final = ord(".")
_STEPS: Final[Mapping[int, Callable[[Interpreter], Any]]] = {
    0x80: Interpreter._header,  # PROTO
    0x95: lambda it: it._take(8),  # FRAME: a length that nothing here needs
    ord("}"): lambda it: it._push({}, 72),
    ord("]"): lambda it: it._push([], 64),
    ord(")"): lambda it: it._push(()),
    ord("N"): lambda it: it._push(None),
    0x88: lambda it: it._push(True),
    0x89: lambda it: it._push(False),
    ord("J"): lambda it: it._push(it._number("<i"), 36),
    ord("K"): lambda it: it._push(it._number("B")),
    ord("M"): lambda it: it._push(it._number("<H"), 36),
    0x8A: Interpreter._long,
    ord("G"): lambda it: it._push(it._number(">d"), 32),
    ord("X"): lambda it: it._text(it._number("<I")),
    0x8C: lambda it: it._text(it._number("B")),
    ord("c"): lambda it: it._global(it._line(), it._line()),
    0x93: Interpreter._stack_global,
    ord("("): Interpreter._mark,
    ord("t"): Interpreter._tuple_to_mark,
    0x85: lambda it: it._tuple(1),
    0x86: lambda it: it._tuple(2),
    0x87: lambda it: it._tuple(3),
    ord("a"): lambda it: it._append([it._stack.pop()]),
    ord("e"): lambda it: it._append(it._to_mark()),
    ord("s"): Interpreter._set_item,
    ord("u"): lambda it: it._set_items(it._to_mark()),
    ord("q"): lambda it: it._remember(it._number("B")),
    ord("r"): lambda it: it._remember(it._number("<I")),
    0x94: lambda it: it._remember(len(it._memo)),
    ord("h"): lambda it: it._push(it._memo[it._number("B")]),
    ord("j"): lambda it: it._push(it._memo[it._number("<I")]),
    ord("Q"): lambda it: it._push(it._reference(it._stack.pop()), 300),
    ord("R"): Interpreter._call,
    0x81: Interpreter._new_object,
    ord("b"): Interpreter._build,
}
"""Instructions by their byte; ``torch.save`` writes no others for dicts of tensors and numbers."""


def read_plain(path: Path) -> Any:
    """Read a pickle of dicts, lists, texts and numbers, such as nanoGPT's ``meta.pkl``.

    What the file says of other objects becomes ``Foreign``. Raises ExportError that names the file.
    """
    try:
        if not path.is_file():
            raise ExportError("it is not a regular file")
        with path.open("rb") as file:
            return Interpreter(file).load()
    except OSError as error:
        raise ExportError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ExportError as error:
        raise ExportError(f"{path} cannot be read: {error}") from None
