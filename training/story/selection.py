"""Which books the storyteller reads: patterns over the titles in INDEX.tsv, by author."""

from __future__ import annotations

import re

TALES: dict[str, str] = {
    "Baum": r"(?!Aunt|Annabel|.*Fortune|.*Daring|Daughters|.*Crown|.*Flying|.*Hamburgs|.*Egyptian|"
    r"Mary|Sam|Tamawaca)",
    "Lang": r".*(Fairy|Prigio|Ricardo|Nobody|Magic Ring|Arabian|Folk Stor|Fairnilee|Johnny Nut|"
    r"Tales of [KRT]|Animal Story|Johannes|Book of Romance|Strange Story|Book of Princes)",
    "Grimm": r"",
    "Andersen": r".*(Tales|Stories|Rudy|Sand-Hills)",
    "Carroll": r"(Alice's|Alice in Wonderland, Re|Sylvie|Through|The Nursery|A Tangled)",
    "Nesbit": r".*(Five Children|Nine|Pussy|Dragons|Castle|Arden|Magic|Phoenix|Railway|Amulet|"
    r"Treasure|Would|Wonderful|Oswald|Beautiful)",
    "Burnett": r".*(Little Princess|Barty|Cozy|Editha|Wolf|Blue Flower|Fauntleroy\.|Elizabeth|"
    r"Zia|Racketty|Sara Crewe|Secret|My Robin|Pilgrims)",
    "Potter": r"(?!Cecily)",
    "Kipling": r"(The .*Jungle Book|Just So|Puck|Rewards)",
    "Barrie": r".*(Peter|White Bird)",
    "Hawthorne": r"(.*Wonder Book|Tanglewood|Little Daff)",
    "Alcott": r"(Flower Fables|Lulu|The Candy)",
}
NOVELS: dict[str, str] = {
    "Baum": r"(Aunt|Annabel|.*Fortune|.*Daring|.*Flying|Mary|Sam)",
    "Alcott": r"(A Garland|An Old|Aunt|Eight|Jack|Jo's|Kitty|Little|Marjorie|May|Proverb|Rose|"
    r"Under)",
    "Montgomery": r"",
    "Stevenson": r"Treasure Island",
    "Twain": r"(The Prince and|The Adventures of Tom|Tom Sawyer)",
}
HELD_OUT: tuple[tuple[str, str], ...] = (
    ("Baum", r"Rinkitink"),
    ("Baum", r"Twinkle and Chubbins"),
    ("Baum", r"The Master Key"),
    ("Lang", r"The Lilac Fairy Book"),
    ("Lang", r"Prince Ricardo"),
    ("Nesbit", r"The Enchanted Castle"),
    ("Nesbit", r"The Magic World"),
    ("Burnett", r"The Land of the Blue Flower"),
    ("Potter", r"The Tale of Mr\. Tod"),
    ("Montgomery", r"The Golden Road"),
)


def group_of(entry: str) -> str | None:
    """The group ("heldout", "tale", "novel") of an INDEX.tsv entry, or None: not read."""
    author, _, title = entry.partition("/")
    surname = author.partition(",")[0]
    if any(surname == who and re.match(what, title) for who, what in HELD_OUT):
        return "heldout"
    for group, table in (("tale", TALES), ("novel", NOVELS)):
        if surname in table and re.match(table[surname], title):
            return group
    return None
