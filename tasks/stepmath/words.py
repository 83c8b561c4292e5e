"""The words of stepmath: names, things, and for each kind of sentence wordings to train on and one
held out for the test."""

from __future__ import annotations

SHE, HE = ("Ann", "Mia", "Eva", "Sue", "Zoe", "Amy"), ("Tom", "Ben", "Sam", "Max", "Leo", "Dan")
ITEMS = ("book", "card", "coin", "cup", "nut", "pen", "pin", "shell", "stamp", "toy")
PACKS = ("bags", "boxes", "packs")
DAYS = ("Monday", "Friday", "Sunday")

WORDS: dict[str, tuple[tuple[str, ...], str]] = {  # usual ones, and one held out
    "start": (
        ("{P} has {a} {I}.", "{P} starts with {a} {I}.", "{P} owns {a} {I}."),
        "At first {P} has {a} {I}.",
    ),
    "add": (
        ("{S} buys {a} more.", "{S} finds {a} more.", "{F} gives {O} {a} more."),
        "Then {s} gets {a} more.",
    ),
    "sub": (
        ("{S} loses {a}.", "{S} gives {a} to {F}.", "{S} sells {a} of them.", "{F} takes {a}."),
        "Then {s} loses {a} of them.",
    ),
    "times": (
        ("Soon {s} has {a} times as many.", "Then {s} has {a} times as many."),
        "Soon {s} owns {a} times as many.",
    ),
    "share": (
        ("{S} makes {a} equal piles and keeps one.", "{S} keeps one of {a} equal piles."),
        "Then {s} makes {a} equal piles and keeps one.",
    ),
    "add packs": (
        ("{S} buys {a} {G} of {b}.", "{F} gives {O} {a} {G} of {b}."),
        "Then {s} gets {a} {G} of {b}.",
    ),
    "sub packs": (
        ("{S} sells {a} {G} of {b}.", "{S} gives {a} {G} of {b} to {F}."),
        "{F} takes {a} {G} of {b}.",
    ),
    "how many now": (
        ("How many {I} does {P} have now?", "How many {I} does {s} have in the end?"),
        "How many {I} does {s} have now?",
    ),
    "more": (
        ("{Q} has {a} more than {P}.", "{Q} has {a} {I} more than {P}."),
        "{Q} owns {a} more than {P}.",
    ),
    "fewer": (
        ("{Q} has {a} fewer than {P}.", "{Q} owns {a} fewer than {P}."),
        "{Q} has {a} {I} fewer than {P}.",
    ),
    "times as many": (
        ("{Q} has {a} times as many as {P}.", "{Q} owns {a} times as many as {P}."),
        "{Q} has {a} times as many {I} as {P}.",
    ),
    "is more than": (
        ("{P} has {a} more than {Q}.", "{P} has {a} {I} more than {Q}."),
        "{P} owns {a} more than {Q}.",
    ),
    "is times": (
        ("{P} has {a} times as many as {Q}.", "{P} owns {a} times as many as {Q}."),
        "{P} has {a} times as many {I} as {Q}.",
    ),
    "how many of one": (("How many {I} does {P} have?",), "How many {I} does {P} own?"),
    "together": (
        ("How many {I} do they have together?", "How many {I} do they have in all?"),
        "How many {I} do they own together?",
    ),
    "they lose": (("They lose {a} of them.", "They sell {a} of them."), "They lose {a}."),
    "price": (
        ("A {i} costs {a} dollars.", "One {i} is {a} dollars."),
        "One {i} costs {a} dollars.",
    ),
    "buys": (("{P} buys {a} {I}.", "{S} takes {a} {I}."), "{P} takes {a} {I}."),
    "off": (("{S} gets {a} dollars off.",), "Then {s} gets {a} dollars off."),
    "parcel": (("A bag costs {a} dollars more.",), "A bag is {a} dollars more."),
    "how much": (
        ("How much does {s} pay?", "How much does it cost?"),
        "How many dollars does {s} pay?",
    ),
    "change": (
        ("{S} pays with {a} dollars. How much does {s} get back?",),
        "{S} pays with {a} dollars. How many dollars does {s} get back?",
    ),
    "split": (
        ("{a} friends pay equal shares. How much does each pay?",),
        "{a} friends pay equal shares. How many dollars does each pay?",
    ),
    "earns": (
        ("{P} earns {a} dollars an hour.", "{P} gets {a} dollars an hour."),
        "{P} makes {a} dollars an hour.",
    ),
    "hours": (
        ("{S} works {a} hours on {D}.", "On {D} {s} works {a} hours."),
        "{P} works {a} hours on {D}.",
    ),
    "spends": (
        ("{S} spends {a} dollars.", "{S} gives {a} dollars to {F}."),
        "{S} loses {a} dollars.",
    ),
    "gets": (("{F} gives {O} {a} dollars.", "{S} finds {a} dollars."), "{S} gets {a} dollars."),
    "how many dollars": (
        ("How many dollars does {s} have now?", "How many dollars does {P} have in the end?"),
        "How many dollars does {s} have in the end?",
    ),
    "aside": (
        ("{F} is {a} years old.", "It rains for {a} days."),
        "{F} works for {a} days.",
    ),
}
NEW_WORDS = 0.3  # share of held-out wordings, where there are any
