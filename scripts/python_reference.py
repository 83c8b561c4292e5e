"""Write ``docs/python.md`` from the public names: ``python -m scripts.python_reference > FILE``.

Public is what a package lists in ``__all__``. Signatures and docstrings are read from the source,
nothing is imported, so that the page is the same under every Python and without any extra.
"""

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from scripts.link_tree import package_folders

_PREFERRED: Final = ("gpt2edge", "gpt2edge.runtime", "gpt2edge.runtime.search")
"""Packages that come first, in this order; the others follow by name."""
EXAMPLES: Final = Path(__file__).resolve().parent / "reference_examples"
"""A program for each package, by its name with _ for the points; the tests run them in order."""
_HEAD: Final = """# Python reference

<!-- Made from signatures and docstrings by `make docs`; a test fails where it is stale. -->

These names are public. Everything else may change without notice. Every error derives from
[`gpt2edge.errors.Gpt2EdgeError`](#gpt2edgeerrors), and a wrong argument is a `ValueError`.
The tests run every example.
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A module's text and syntax tree."""

    text: str
    tree: ast.Module

    @classmethod
    def read(cls, path: Path) -> "Source":
        """Parse a file."""
        text = path.read_text(encoding="utf-8")
        return cls(text, ast.parse(text))

    def public_names(self) -> list[str]:
        """``__all__``, or nothing where there is none."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return [str(name) for name in ast.literal_eval(node.value)]
        return []

    def homes(self) -> dict[str, str]:
        """The module that each imported name comes from, imports for type checkers included."""
        imports = [node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)]
        return {
            alias.asname or alias.name: node.module
            for node in imports
            for alias in node.names
            if node.module and node.module.startswith("gpt2edge")
        }

    def lines(self, first: int, last: int) -> str:
        """Lines ``first`` to ``last``, counted from 1, without their common indent."""
        return textwrap.dedent("\n".join(self.text.splitlines()[first - 1 : last]))


def render() -> str:
    """Return the page."""
    packages = {package: Source.read(path) for package, path in _packages()}
    order = [*_PREFERRED, *sorted(set(packages) - set(_PREFERRED))]
    parts = [_HEAD]
    written: dict[str, str] = {}
    for package in order:
        if package not in packages or not packages[package].public_names():
            continue
        parts.append(f"## {package}\n")
        parts.append(f"{ast.get_docstring(packages[package].tree) or ''}\n")
        example = EXAMPLES / f"{package.replace('.', '_')}.py"
        if example.is_file():
            parts.append(_code(example.read_text(encoding="utf-8").rstrip()))
        for name in sorted(packages[package].public_names(), key=str.lower):
            parts += _entry(packages[package], package, name, written)
    return "\n".join(parts)


def _packages() -> Iterator[tuple[str, Path]]:
    """Every package of the wheel with its ``__init__.py``; the command line is no library."""
    for package, folder in package_folders().items():
        for path in sorted(folder.rglob("__init__.py")):
            name = ".".join([package, *path.parent.relative_to(folder).parts])
            if not name.startswith(("gpt2edge.cli", "gpt2edge.plugins")):
                yield name, path


def _entry(source: Source, package: str, name: str, written: dict[str, str]) -> Iterator[str]:
    """One name: written once, where it is met first; later packages refer to it."""
    if name.startswith("__"):
        return
    home = source.homes().get(name, package)
    key = f"{home}.{name}"
    if key in written:
        yield f"### {package}.{name}\n\nThe same as `{written[key]}`.\n"
        return
    written[key] = f"{package}.{name}"
    yield f"### {package}.{name}\n"
    if path_of(key).is_file():
        yield from _module(Source.read(path_of(key)), key)
        return
    yield from _definition(*_find(name, home), f"{package}.{name}")


def _module(source: Source, name: str) -> Iterator[str]:
    """A module that is a public name: its docstring, and its public classes."""
    yield f"```text\n{ast.get_docstring(source.tree) or ''}\n```\n"
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield f"#### {name.rpartition('.')[2]}.{node.name}\n"
            yield from _class(source, node, node.name)


@cache
def path_of(module: str) -> Path:
    """Return the file of a module of gpt2edge."""
    folders = package_folders()
    package = max((name for name in folders if f"{module}.".startswith(f"{name}.")), key=len)
    inner = folders[package].joinpath(*module[len(package) :].strip(".").split("."))
    return inner / "__init__.py" if inner.is_dir() else inner.with_suffix(".py")


def _find(name: str, home: str) -> tuple[Source, ast.stmt]:
    """The module and statement that define a name; an import in ``home`` is followed."""
    module = Source.read(path_of(home))
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {getattr(node, "name", None), *(getattr(t, "id", None) for t in targets)}
        if name in names:
            return module, node
    origin = module.homes().get(name, home)
    if origin == home:
        raise LookupError(f"{home} neither defines nor imports {name}, which __all__ names")
    return _find(name, origin)


def _definition(module: Source, node: ast.stmt, name: str) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _function(module, node)
    elif isinstance(node, ast.ClassDef):
        yield from _class(module, node, name)
    else:
        yield _code(module.lines(node.lineno, node.end_lineno or node.lineno))
        yield from _text_after(module.tree.body, node)


def _function(module: Source, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
    yield _code(module.lines(first, node.body[0].lineno - 1))
    if docstring := ast.get_docstring(node):
        yield f"{docstring}\n"


def _class(module: Source, node: ast.ClassDef, name: str) -> Iterator[str]:
    first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and _is_public(item)]
    header = [module.lines(first, node.body[0].lineno - 1)]
    header += [
        textwrap.indent(module.lines(item.lineno, item.end_lineno or item.lineno), "    ")
        for item in fields
    ]
    yield _code("\n".join(header))
    if docstring := ast.get_docstring(node):
        yield f"{docstring}\n"
    for field in fields:
        for text in _text_after(node.body, field):
            yield f"- `{ast.unparse(field.target)}`: {' '.join(text.split())}"
    yield ""
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(item):
            yield f"#### {name.rpartition('.')[2]}.{item.name}\n"
            yield from _function(module, item)


def _is_public(node: ast.AnnAssign | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    name = ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else node.name
    return not name.startswith("_") or name == "__init__"


def _text_after(body: list[ast.stmt], node: ast.stmt) -> Iterator[str]:
    """The string that stands under a constant or field, its docstring by custom."""
    for found in body[body.index(node) + 1 :][:1]:
        if isinstance(found, ast.Expr) and isinstance(found.value, ast.Constant):
            yield f"{textwrap.dedent(str(found.value.value)).strip()}\n"


def _code(text: str) -> str:
    return f"```python\n{text}\n```\n"


if __name__ == "__main__":
    print(render(), end="")
