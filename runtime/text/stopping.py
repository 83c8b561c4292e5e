"""End conditions: stop strings across token borders, stop tokens, end of text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpt2edge._checks import check_bool, check_float, check_int, check_list, check_text


@dataclass(frozen=True, slots=True, kw_only=True)
class StopParams:
    """What ends a completion besides its token limit.

    ``strings`` may span tokens and are removed from the text; special tokens in them are spelled
    out, and one that is a special token ends it like ``token_ids``. These end it like the
    end-of-text token, which ``ignore_eos`` forbids. No end token before ``min_new_tokens``, nor
    before prompt and completion have ``min_length``. The first token after ``max_time`` seconds,
    counted from the call, is the last one.
    """

    strings: tuple[str, ...] = ()
    token_ids: tuple[int, ...] = ()
    min_new_tokens: int = 0
    min_length: int = 0
    ignore_eos: bool = False
    max_time: float | None = None

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
        """``StopParams`` as they are, or ``default`` with one stop string or several, if any."""
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
        """The same for one prompt, ``min_length`` counted as new tokens."""
        if not self.min_length:
            return self
        least = max(self.min_new_tokens, self.min_length - prompt_length)
        return replace(self, min_new_tokens=least, min_length=0)


class StopMatcher:
    """Finds the first stop string in a text that arrives in pieces, of which some are not shown."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = strings
        self._held = ""
        self._hidden: tuple[tuple[int, int], ...] = ()  # what of it is not shown: start and end
        self.matched: str | None = None

    def push(self, piece: str, *, shown: bool = True) -> str:
        """The text that is safe to show; ``matched`` is set once a stop string is complete."""
        if not self._strings or self.matched is not None:
            return piece if self.matched is None and shown else ""
        text = self._held + piece
        if not shown:
            self._hidden = (*self._hidden, (len(self._held), len(text)))
        hits = [(at, string) for string in self._strings if (at := text.find(string)) >= 0]
        if hits:
            at, self.matched = min(hits, key=lambda hit: hit[0])
            out = self._let_out(text, at)
            self._held, self._hidden = "", ()
            return out
        hold = max([_overlap(text, string) for string in self._strings])
        return self._let_out(text, len(text) - hold)

    def finish(self) -> str:
        """What was held back for a stop string that never came."""
        return self._let_out(self._held, len(self._held))

    def _let_out(self, text: str, size: int) -> str:
        """What is shown of the first ``size`` characters of ``text``; the rest is held."""
        self._held = text[size:]
        if not self._hidden:
            return text[:size]
        out, at = "", 0
        for start, end in self._hidden:
            out += text[at : min(start, size)]
            at = end
        self._hidden = tuple(
            (max(start - size, 0), end - size) for start, end in self._hidden if end > size
        )
        return out + text[at:size]


def _overlap(text: str, string: str) -> int:
    """Length of the longest end of ``text`` that begins ``string``."""
    longest = min(len(text), len(string) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)
