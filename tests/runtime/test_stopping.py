"""Stop strings across pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2edge.runtime.stopping import StopMatcher, StopParams


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
def test_any_cutting_equals_a_search_in_the_whole(
    text: str, cuts: list[int], strings: list[str]
) -> None:
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:end] for start, end in pairwise(edges)]
    out, matched = run(pieces, tuple(strings))
    found = [at for string in strings if (at := text.find(string)) >= 0]
    if matched is None:
        assert not found
        assert "".join(out) == text
    else:
        # a longer string that began earlier may still have been incomplete
        assert text.startswith("".join(out) + matched)


def test_params_from_what_a_user_writes() -> None:
    assert StopParams.of(None) == StopParams()
    assert StopParams.of(".").strings == (".",)
    assert StopParams.of(["a", "b"]).strings == ("a", "b")
    with pytest.raises(ValueError, match="empty"):
        StopParams.of("")
    with pytest.raises(ValueError, match="min_new_tokens is -1"):
        StopParams(min_new_tokens=-1)
