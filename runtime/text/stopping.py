"""End conditions: stop strings across token boundaries, stop tokens, end of text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpt2edge._checks import check_bool, check_float, check_int, check_list, check_text
from gpt2edge._repr import changed_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class StopParams:
    """Conditions that end a completion, besides its token limit.

    ``strings`` may span tokens and are removed from the text. They may contain the text of special
    tokens; a string that is exactly one special token works like an entry of ``token_ids``.
    ``token_ids`` end the completion as the end-of-text token does. ``ignore_eos`` forbids the
    end-of-text token. No end token is drawn before ``min_new_tokens`` new tokens, nor before prompt
    and completion together have ``min_length`` tokens. The first token after ``max_time`` seconds,
    counted from the call, is the last one.
    """

    strings: tuple[str, ...] = ()
    token_ids: tuple[int, ...] = ()
    min_new_tokens: int = 0
    min_length: int = 0
    ignore_eos: bool = False
    max_time: float | None = None

    def __repr__(self) -> str:
        return changed_fields(self)

    def __post_init__(self) -> None:
        for string in check_list("strings", self.strings, "a tuple of texts"):
            check_text("stop", string, empty=False, part="a string of ")
        check_bool("ignore_eos", self.ignore_eos)
        check_int("min_new_tokens", self.min_new_tokens, 0, 2**31)
        check_int("min_length", self.min_length, 0, 2**31)
        if self.max_time is not None:
            check_float("max_time", self.max_time, 0, 1e9, open_low=True)
        for token_id in check_list("token_ids", self.token_ids, "a tuple of token ids"):
            check_int("token_ids", token_id, 0, 2**31, part="a token id in ")

    @classmethod
    def of(
        cls,
        stop: "StopParams | str | Sequence[str] | None",
        default: "StopParams | None" = None,
    ) -> "StopParams":
        """Return ``stop`` if it is StopParams, else ``default`` with the stop strings given."""
        if isinstance(stop, StopParams):
            return stop
        default = default or cls()
        if stop is None:
            return default
        if isinstance(stop, str):
            return replace(default, strings=(stop,))
        strings = check_list("stop", stop, "a text, a list of texts or StopParams")
        return replace(default, strings=tuple(strings))

    def after(self, prompt_length: int) -> "StopParams":
        """Return a copy for one prompt: ``min_length`` is converted to ``min_new_tokens``."""
        if not self.min_length:
            return self
        least = max(self.min_new_tokens, self.min_length - prompt_length)
        return replace(self, min_new_tokens=least, min_length=0)


class StopMatcher:
    """Finds the first stop string in a text that arrives in pieces; some pieces may be hidden."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = strings
        self._held = ""
        self._hidden: tuple[tuple[int, int], ...] = ()  # hidden parts of _held: start and end
        self.matched: str | None = None

    def push(self, piece: str, *, shown: bool = True) -> str:
        """Return the text that is safe to show; set ``matched`` once a stop string is complete."""
        if not self._strings or self.matched is not None:
            return piece if self.matched is None and shown else ""
        text = self._held + piece
        if not shown:
            self._hidden = (*self._hidden, (len(self._held), len(text)))
        hits = [(start, string) for string in self._strings if (start := text.find(string)) >= 0]
        if hits:
            start, self.matched = min(hits, key=lambda hit: hit[0])
            out = self._release(text, start)
            self._held, self._hidden = "", ()
            return out
        hold = max([_overlap(text, string) for string in self._strings])
        return self._release(text, len(text) - hold)

    def finish(self) -> str:
        """Return the text that was held back for a stop string that was never completed."""
        return self._release(self._held, len(self._held))

    def _release(self, text: str, size: int) -> str:
        """Return the visible part of the first ``size`` characters of ``text``; hold the rest."""
        self._held = text[size:]
        if not self._hidden:
            return text[:size]
        out, position = "", 0
        for start, end in self._hidden:
            out += text[position : min(start, size)]
            position = end
        self._hidden = tuple(
            (max(start - size, 0), end - size) for start, end in self._hidden if end > size
        )
        return out + text[position:size]


def _overlap(text: str, string: str) -> int:
    """Return the length of the longest suffix of ``text`` that is a prefix of ``string``."""
    longest = min(len(text), len(string) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)
