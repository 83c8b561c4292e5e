"""Stop strings across pieces."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2edge.runtime.text.stopping import StopMatcher, StopParams


def run(pieces: list[str], strings: tuple[str, ...]) -> tuple[list[str], str | None]:
    matcher = StopMatcher(strings)
    out = []
    for piece in pieces:
        out.append(matcher.push(piece))
        if matcher.matched is not None:
            break
    return [*out, matcher.finish()], matcher.matched


def test_a_stop_string_over_three_pieces_never_shows() -> None:
    assert run(["ab<", "st", "op>cd"], ("<stop>",)) == (["ab", "", "", ""], "<stop>")


def test_what_only_looked_like_one_comes_later() -> None:
    assert run(["a<st", "ay>"], ("<stop>",)) == (["a", "<stay>", ""], None)
    assert run(["a<st"], ("<stop>",)) == (["a", "<st"], None)


def test_the_earliest_of_several_wins() -> None:
    assert run(["xxENDyySTOP"], ("STOP", "END")) == (["xx", ""], "END")


@given(
    text=st.text("ab.", max_size=30),
    cuts=st.lists(st.integers(0, 30)),
    strings=st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3),
)
def test_any_cutting_equals_a_search_in_what_has_come(
    text: str, cuts: list[int], strings: list[str]
) -> None:
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in pairwise(edges)]
    out, matched = run(pieces, tuple(strings))
    shown = "".join(out)
    if matched is None:
        assert not any(string in text for string in strings)
        assert shown == text
        return
    start, end = len(shown), len(shown + matched)
    assert text.startswith(shown + matched)
    before = max(edge for edge in edges if edge < end)  # all that was there when this one ended
    assert not any(string in text[:before] for string in strings)
    seen = text[: min(edge for edge in edges if edge >= end)]
    assert start == min(at for string in strings if (at := seen.find(string)) >= 0)


@given(
    pieces=st.lists(st.tuples(st.text("ab<", min_size=1, max_size=3), st.booleans()), max_size=12),
    strings=st.lists(st.text("ab<", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_pieces_that_are_not_shown_are_read(
    pieces: list[tuple[str, bool]], strings: list[str]
) -> None:
    matcher = StopMatcher(strings)
    out, spelled, marks = "", "", ""
    for piece, shown in pieces:
        out += matcher.push(piece, shown=shown)
        spelled += piece
        marks += ("+" if shown else "-") * len(piece)
        if matcher.matched is not None:
            break
    out += matcher.finish()
    hits = [at for string in strings if (at := spelled.find(string)) >= 0]
    assert (matcher.matched is not None) == bool(hits)
    end = min(hits, default=len(spelled))
    kept = zip(spelled[:end], marks, strict=False)
    assert out == "".join(letter for letter, mark in kept if mark == "+")


def test_params_from_what_a_user_writes() -> None:
    assert StopParams.of(None) == StopParams()
    assert StopParams.of(".").strings == (".",)
    assert StopParams.of(["a", "b"]).strings == ("a", "b")
    with pytest.raises(ValueError, match="one character or more"):
        StopParams.of("")
    with pytest.raises(ValueError, match="min_new_tokens is -1"):
        StopParams(min_new_tokens=-1)


@pytest.mark.parametrize("stop", [2, 1.5, True, {"strings": "a"}, {"a"}])
def test_something_else_than_texts_is_refused(stop: Any) -> None:
    with pytest.raises(ValueError, match="it must be a text, a list of texts or StopParams"):
        StopParams.of(stop)
