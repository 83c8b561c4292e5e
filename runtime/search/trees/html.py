"""A tree as one HTML page: no script, nothing fetched, every text escaped.

The tree is nested <details> elements, which open and close by keyboard and mouse.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from gpt2edge.runtime.search.trees.text import DrawnNode, lines
from gpt2edge.runtime.search.trees.tree import Node, Tree

_OPEN_LEVELS: Final = 2
_PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
details > :not(summary), .leaf {{ margin-left: 1.4rem; }}
summary, .leaf {{ padding: .1rem .3rem; border-radius: .3rem; }}
summary {{ cursor: pointer; }}
summary:focus-visible, a:focus-visible {{ outline: 2px solid Highlight; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
.facts {{ opacity: .7; font-size: .85em; font-variant-numeric: tabular-nums; }}
.best > .text, .best > summary > .text {{ font-weight: 700; }}
.pruned {{ opacity: .55; }}
:target {{ outline: 2px solid Highlight; }}
meter {{ width: 4rem; height: .7rem; vertical-align: middle; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="facts">{count} nodes. Tab moves, Enter opens and closes.{best}</p>
{tree}
</body>
</html>
"""


def render_html(tree: Tree, *, title: str = "Tree", best: Node | None = None) -> str:
    """Return the page, with the path to ``best`` open and in bold."""
    marked = {node.id for node in tree.path(best)} if best is not None else set()
    link = "" if best is None else f' The best is <a href="#n{best.id}">#{best.id}</a>.'
    body = "\n".join(_elements(tree, marked))
    return _PAGE.format(title=escape(title), count=len(tree.nodes), best=link, tree=body)


def _elements(tree: Tree, marked: set[int]) -> Iterator[str]:
    """Yield nested elements, one per line; close the open ones before a line that is no deeper."""
    opened: list[int] = []
    for line in lines(tree):
        depth, node = len(line.lasts), line.node
        while opened and opened[-1] >= depth:
            opened.pop()
            yield "</details>"
        names = ["best"] * (node.id in marked) + ["pruned"] * node.is_pruned
        if line.repeat:
            yield f'<div class="leaf">see <a href="#n{node.id}">#{node.id}</a></div>'
        elif not node.children:
            yield f'<div id="n{node.id}" class="{" ".join(["leaf", *names])}">{_label(line)}</div>'
        else:
            opened.append(depth)
            state = " open" if node.id in marked or depth < _OPEN_LEVELS else ""
            yield f'<details id="n{node.id}" class="{" ".join(["branch", *names])}"{state}>'
            yield f"<summary>{_label(line)}</summary>"
    yield from ["</details>"] * len(opened)


def _label(line: DrawnNode) -> str:
    node, meter = line.node, ""
    if node.value is not None and 0 <= node.value <= 1:
        meter = f'<meter value="{node.value:.4g}" aria-label="value"></meter> '
    facts = escape("  ".join([f"#{node.id}", *line.facts]))
    text = f'<span class="text">{escape(node.text)}</span>'
    return f'{text} {meter}<span class="facts">{facts}</span>'
