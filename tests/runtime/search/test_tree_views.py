"""Views of a tree: what is dangerous in a text arrives as a text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gpt2edge._files import write_whole
from gpt2edge.errors import FileFormatError
from gpt2edge.runtime.search import Tree
from gpt2edge.runtime.search.trees.html import render_html
from gpt2edge.runtime.search.trees.text import render_text

HOSTILE = [
    "</span></summary></details><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!-- {title} {0} %s -->",
    "&lt;b&gt;",
    "\x1b[2J\x9b31m\x07 bell",
    "\u202eright to left\u2066",
    "[bold red]no markup[/bold red]",
    "line\nbreak\ttab \\n",
    "\ud800",
]


@pytest.fixture
def tree() -> Tree:
    """Hostile texts, a shared node and a pruned one."""
    tree = Tree("<title> & root")
    for text in HOSTILE[:-1]:
        tree.add(tree.root, text, text, prior=0.125).value = 0.5
    below = tree.add(tree.nodes[1], "below", "below")
    below.is_pruned = True
    tree.link(tree.nodes[2], below)
    tree.add(below, "leaf", "leaf").is_terminal = True
    return tree


class Page(HTMLParser):
    """What a browser would see: elements, texts, and that they nest."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_hostile_text_is_text(tree: Tree) -> None:
    page = Page(render_html(tree, title="<script>x</script> {tree}", best=tree.nodes[2]))
    assert page.open == []
    allowed = {"html", "head", "meta", "title", "style", "body", "h1", "p", "a"}
    allowed |= {"details", "summary", "div", "span", "meter"}
    assert {tag for tag, _ in page.elements} == allowed
    for text in [*HOSTILE[:-1], "<title> & root", "<script>x</script> {tree}"]:
        assert text in page.texts
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | (names & {"src", "style"})
    links = [values["href"] or "" for tag, values in page.elements if tag == "a"]
    assert links == ["#n2", "#n9"]
    ids = [values["id"] for _, values in page.elements if "id" in values]
    assert len(ids) == len(set(ids)) == len(tree.nodes)


def test_the_page_fetches_and_runs_nothing(tree: Tree) -> None:
    text = render_html(tree)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?:", text[: text.index("</style>")])


def test_the_way_to_the_best_is_open(tree: Tree) -> None:
    leaf = tree.nodes[-1]
    states = _details(render_html(tree, best=leaf))
    assert all("open" in states[f"n{node.id}"] for node in tree.path(leaf)[:-1])
    assert "best" in (states["n1"]["class"] or "").split()
    assert "open" not in _details(render_html(tree))["n9"]


def _details(page: str) -> dict[str | None, dict[str, str | None]]:
    return {values["id"]: values for tag, values in Page(page).elements if tag == "details"}


def test_no_control_character_reaches_a_terminal(tree: Tree) -> None:
    lines = render_text(tree).split("\n")
    assert len(lines) == 12
    assert all(line.isprintable() for line in lines)
    assert r"\x1b[2J\x9b31m" in render_text(tree)
    assert r"line\nbreak\ttab \\n" in render_text(tree)
    assert [line for line in lines if line.endswith("see #9")] == ["│   └── see #9"]
    lone = Tree(HOSTILE[-1])
    assert render_text(lone) == r"#0  \ud800"


def test_a_deep_tree_is_drawn_without_recursion() -> None:
    tree = Tree("root")
    node = tree.root
    for _ in range(2000):
        node = tree.add(node, "x", "x")
    assert render_text(tree).count("\n") == 2000
    assert render_html(tree).count("</details>") == 2000


@pytest.mark.parametrize(
    "change",
    [
        '"text": 5',
        '"value": "high"',
        '"visits": -1',
        '"visits": 1.5',
        '"token_ids": ["x"]',
        '"token_ids": 7',
        '"colour": 1',
        '"children": [{"child": 1, "prior": null}]',
    ],
)
def test_a_file_of_the_wrong_kind_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "tree.json"
    tree = Tree("root")
    tree.add(tree.root, "x", "x")
    tree.save(path)
    assert len(Tree.load(path).nodes) == 2
    name = change.split(":", maxsplit=1)[0]
    text = path.read_text(encoding="utf-8")
    start = text.index("{", 1)
    found = re.search(rf"{name}: (\[.*?\]|[^,]*)(?=, |\}})", text[start:])
    broken = (
        text[: start + found.start()] + change + text[start + found.end() :]
        if found
        else text[: start + 1] + f"{change}, " + text[start + 1 :]
    )
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(FileFormatError, match="is not a saved tree"):
        Tree.load(path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "one")
    path.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    write_whole(link, "two")
    assert (path.read_text(), link.is_symlink()) == ("two", True)
    assert path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert path.read_text() == "two"
    assert sorted(tmp_path.iterdir()) == [path, link]
