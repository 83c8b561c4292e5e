"""A hook of mkdocs: what stands outside ``docs/`` joins the site, and links lead within it.

A link to a file that is no page of the site becomes plain text, since the site does not know where
the repository is published. A page that would load anything from another address is an error.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks/figures.md",
    "examples/README.md": "guides/examples.md",
    "tasks/README.md": "guides/tasks.md",
    "training/README.md": "training/index.md",
} | {
    f"training/cards/{path.name}": f"training/{path.name}"
    for path in (ROOT / "training" / "cards").glob("*.md")
}
"""Page of the site by file of the repository, for those outside ``docs/``."""
_SOURCES: Final = {page: source for source, page in PAGES.items()}
_FENCED: Final = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_LOADED: Final = re.compile(
    r"<(?:script|img|iframe|source|link)\b(?![^>]*rel=\"?(?:canonical|next|prev))"
    r"[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>"
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and pictures outside ``docs/``, and the list of decisions."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.svg")):
        uri = f"benchmarks/results/{path.name}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    files.append(File.generated(config, "decisions/index.md", content=_decisions()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001
    """Make links of the repository links of the site, but in code."""
    parts = _FENCED.split(markdown)
    parts[::2] = [
        _LINK.sub(lambda link: _rewritten(link, page, files), part) for part in parts[::2]
    ]
    return "".join(parts)


def on_post_page(output: str, page: Any, config: Any) -> str:  # noqa: ARG001
    """Refuse a page whose reader's browser would contact another address."""
    if found := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from outside: {found[0]}")
    return output


def _rewritten(link: re.Match[str], page: Any, files: Any) -> str:
    picture, text, target = link.groups()
    path, _, anchor = target.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return link[0]
    own = page.file.src_uri
    source = _SOURCES.get(own, f"docs/{own}")
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    uri = PAGES.get(wanted, wanted.removeprefix("docs/"))
    if uri == "decisions":
        uri = "decisions/index.md"
    if files.get_file_from_path(uri) is None:
        if not (ROOT / wanted).exists():
            raise PluginError(f"{source}: {target} leads nowhere")
        return text
    relative = posixpath.relpath(uri, posixpath.dirname(own) or ".")
    return f"{picture}[{text}]({relative}{'#' if anchor else ''}{anchor})"


def _decisions() -> str:
    """Every decision by its number and title."""
    lines = [
        "# Decisions\n",
        "Why things are as they are; each page was true when it was written.\n",
    ]
    for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0]
        words = re.sub(r"^# \d+[.:]? ", "", title)
        lines.append(f"- {path.name[:4]}: [{words[0].upper()}{words[1:]}]({path.name})")
    return "\n".join([*lines, ""])
