"""Answers: where they stand in a text, and when two are the same."""

import pytest

from gpt2edge.runtime.search.answers import canonical, extract_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So 3 + 4 = 7.\n#### 7", "7"),
        ("#### 5\nno, wait\n#### 1,234", "1234"),
        (r"hence \boxed{\frac{3}{6}} follows", "1/2"),
        (r"\boxed{x^{2}+1}", "x^{2}+1"),
        ("The answer is 42.", "42"),
        ("The answer is 3.50 dollars. Good.", "7/2"),
        ("Answer: blue\nmore", "blue"),
        ("He has 12 apples and gives 5 away, so 7 are left", "7"),
        ("nothing here", None),
        ("", None),
    ],
)
def test_the_answer_is_found(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("1,200.50", "2401/2"),
        ("$1200.5", "2401/2"),
        ("2401/2 dollars", "2401/2"),
        ("0.50", "1/2"),
        ("2/4", "1/2"),
        ("1 1/2", "3/2"),
        ("-1 1/2 km", "-3/2"),
        ("-3", "-3"),
        ("\u22123.0", "-3"),
        ("50%", "50"),
        ("12 km/h", "12"),
        ("5 square metres", "5"),
        ("1e3", "1000"),
        ("1/0", "1/0"),
        ("1e999999999", "1e999999999"),
        ("9" * 5000, "9" * 5000),
        ("  The  Cat. ", "the cat"),
        (".", None),
        ("3 + 4", "3 + 4"),
        ("12:30", "12:30"),
    ],
)
def test_equal_answers_are_equal_texts(written: str, form: str | None) -> None:
    assert canonical(written) == form
