"""Story: a text that a person and a model write in turns, for ``gpt2edge play``."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from gpt2edge.errors import UnsupportedError

if TYPE_CHECKING:
    from gpt2edge.cli.options.settings import Settings
    from gpt2edge.runtime.decoding.stream import Stream
    from gpt2edge.runtime.engine import Engine
    from gpt2edge.runtime.results import Completion

_NO_SPACE_BEFORE: Final = frozenset(".,;:!?)]}'\"\u2019\u201d")
_LIMIT: Final = "max_new_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the person wrote, perhaps nothing, and the model's answer; tokens are those of both."""

    written: str
    written_ids: tuple[int, ...]
    answer: str = ""
    answer_ids: tuple[int, ...] = ()


class Story:
    """The turns so far. A turn is read as tokens, so that all before it is known to the cache."""

    def __init__(self, engine: "Engine", settings: "Settings") -> None:
        if engine.tokenizer is None:
            raise UnsupportedError("this model has no tokenizer, and play writes texts")
        self.turns: list[Turn] = []
        self.sampling = settings.sampling
        self.stop = settings.stop
        self.limit = settings.max_new_tokens
        self._engine = engine
        self._overflow = settings.overflow
        self._drawn = 0

    @property
    def text(self) -> str:
        """All of the text."""
        return "".join(turn.written + turn.answer for turn in self.turns)

    def write(self, text: str) -> None:
        """Begin a turn with ``text``, a blank before it where it needs one."""
        if text and self._needs_blank(text):
            text = " " + text
        first = not self.turns
        ids = self._engine.encode(text, add_special_tokens=first) if text or first else []
        self.turns.append(Turn(written=text, written_ids=tuple(ids)))

    def answer(self, n: int = 1) -> "Stream[list[Completion]]":
        """Stream ``n`` answers to the last turn. Each call draws anew, also from a fixed seed."""
        sampling, self._drawn = self.sampling, self._drawn + 1
        if sampling.seed is not None:
            sampling = replace(sampling, seed=(sampling.seed + self._drawn - 1) % 2**64)
        *before, last = self.turns
        ids = [token for turn in before for token in (*turn.written_ids, *turn.answer_ids)]
        return self._engine.stream_batch(
            [[*ids, *last.written_ids]],
            n=n,
            max_new_tokens=self.limit,
            sampling=sampling,
            stop=self.stop,
            overflow=self._overflow,
        )

    def accept(self, completion: "Completion") -> None:
        """Make ``completion`` the answer of the last turn."""
        ids: Sequence[int] = completion.token_ids
        if completion.finish_reason == "stop":  # the text ends before the stop string
            ids = self._engine.encode(completion.text, add_special_tokens=False)
        elif completion.finish_reason == "eos":
            ids = ids[:-1]
        self.turns[-1] = replace(self.turns[-1], answer=completion.text, answer_ids=tuple(ids))

    def replace_text(self, text: str) -> None:
        """Make ``text`` the whole story."""
        self.turns = []
        self.write(text)

    def set(self, name: str, value: str) -> None:
        """Change a setting. Raises ValueError for an unknown name or a wrong value."""
        if name == "stop":
            self.stop = replace(self.stop, strings=(value,) if value else ())
            return
        if name not in self.settings():
            raise ValueError(_unknown(name, self.settings()))
        number: Any = None if value == "none" else _number(name, value)
        if name == _LIMIT:
            self._engine.request("x", max_new_tokens=number, overflow=self._overflow)  # checks it
            self.limit = number
        else:
            self.sampling = replace(self.sampling, **{name: number})

    def settings(self) -> dict[str, Any]:
        """Return the settings that ``set`` changes, and their values."""
        found = {field.name: getattr(self.sampling, field.name) for field in fields(self.sampling)}
        numbers = {
            name: value
            for name, value in found.items()
            if name == "seed" or (isinstance(value, int | float) and not isinstance(value, bool))
        }
        del numbers["num_beams"], numbers["length_penalty"]
        return {_LIMIT: self.limit, "stop": " ".join(self.stop.strings), **numbers}

    def _needs_blank(self, text: str) -> bool:
        before = self.text
        return bool(before) and not (
            before[-1].isspace() or text[0].isspace() or text[0] in _NO_SPACE_BEFORE
        )


def _number(name: str, value: str) -> float | int:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    raise ValueError(f"{name} is {value!r}; give a number")


def _unknown(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    from difflib import get_close_matches

    alike = get_close_matches(name, known, n=1)
    hint = f"did you mean {alike[0]}?" if alike else f"there are {', '.join(known)}"
    return f"no setting {name!r}; {hint}"
