"""The faces of the rooms: lazy, sorted, complete, and seen alike by Python and type checkers."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Final

import pytest

import gpt2edge
from gpt2edge import Engine, ModelDir
from scripts.link_tree import package_folders
from scripts.python_reference import Source, path_of

FACES: Final = (
    "gpt2edge",
    "gpt2edge.batches",
    "gpt2edge.evaluate",
    "gpt2edge.export",
    "gpt2edge.inside",
    "gpt2edge.quant",
    "gpt2edge.runtime",
    "gpt2edge.runtime.search",
)
INTERNAL: Final = {
    "BlockPool",  # the memory of a paged cache
    "Kept",  # what a prefix tree keeps of a row
    "BackgroundLoad",  # a command's load, begun before it imports the engine
    "Edge",  # a node of the tree that a prompt cache is
}
"""Classes in public signatures that nobody but our own code passes."""
MADE_BY_OTHERS: Final = {
    *("ActivationCache", "Inside", "Tensors"),
    *("Decoder", "Generation", "KVCache", "PromptCache", "Request", "Scheduler", "Stream"),
}
"""Classes that an engine makes: nobody else calls them, so what they are made of stays private."""
every_face = pytest.mark.parametrize("face", FACES)


def names_of(node: ast.stmt) -> Iterator[str]:
    """Names that a statement of a module defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        yield node.name
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    yield from (target.id for target in targets if isinstance(target, ast.Name))


@cache
def source_of(module: str) -> Source:
    """The text and tree of a module."""
    return Source.read(path_of(module))


@cache
def defined(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """Module and statement that define a name of ours as ``module`` sees it; None for others."""
    source = source_of(module)
    for node in source.tree.body:
        if name in names_of(node):
            return module, node
    home = source.homes().get(name)
    return defined(home, name) if home not in (None, module) else None


def annotations(node: ast.stmt) -> Iterator[ast.expr]:
    """Annotations and base classes of a function or class, its public methods and fields."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        yield from (each.annotation for each in every if each.annotation)
        yield from [node.returns] if node.returns else []
    elif isinstance(node, ast.ClassDef):
        yield from node.bases
        made = node.name in MADE_BY_OTHERS
        for item in node.body:
            field = ast.unparse(item.target) if isinstance(item, ast.AnnAssign) else "_"
            name = getattr(item, "name", field)
            if not name.startswith("_") or (name == "__init__" and not made) or name == "__next__":
                yield from annotations(item)
    elif isinstance(node, ast.AnnAssign):
        yield node.annotation
        yield from [node.value] if "TypeAlias" in ast.unparse(node) and node.value else []
    elif isinstance(node, ast.Assign):
        yield node.value


def names_in(expression: ast.expr) -> Iterator[str]:
    """Names in an annotation, those within quotes too."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            with suppress(SyntaxError):
                yield from names_in(ast.parse(node.value, mode="eval").body)


def met(module: str, node: ast.stmt, seen: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Classes of ours that a user of ``node`` passes or gets back; aliases and bases are opened."""
    bases = {each for base in getattr(node, "bases", []) for each in names_in(base)}
    for name in {each for found in annotations(node) for each in names_in(found)}:
        found = defined(module, name)
        if found is None or (found[0], name) in seen:
            continue
        seen.add((found[0], name))
        if isinstance(found[1], ast.ClassDef) and name not in bases:
            yield found[0], name
        else:
            yield from met(*found, seen)


def public() -> dict[tuple[str, str], str]:
    """Home and name of each public name, with its face."""
    result = {}
    for face in (*FACES, "gpt2edge.errors"):
        for name in source_of(face).public_names():
            found = defined(face, name)
            if found is not None:
                result[found[0], name] = face
    return result


def test_every_package_with_public_names_is_a_face() -> None:
    found = set()
    for package, folder in package_folders().items():
        for path in folder.rglob("__init__.py"):
            if Source.read(path).public_names():
                found.add(".".join([package, *path.parent.relative_to(folder).parts]))
    assert found == set(FACES)


@every_face
def test_python_and_type_checkers_see_the_same_names(face: str) -> None:
    module, source = import_module(face), source_of(face)
    (checked,) = [
        node
        for node in source.tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imported = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(module.__all__) == set(imported) == set(dir(module))
    assert len(module.__all__) == len(imported)
    for name, home in imported.items():
        assert getattr(module, name) is getattr(import_module(str(home)), name)


@every_face
def test_names_are_sorted(face: str) -> None:
    """Constants, classes, then what begins small: the order of ruff and isort."""
    names = import_module(face).__all__
    assert names == sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))


@every_face
def test_no_name_is_that_of_a_module_in_the_room(face: str) -> None:
    """Importing the module would put it in the name's place."""
    folder = path_of(face).parent
    folders = (path for path in folder.iterdir() if path.is_dir())
    inside = {path.stem for path in [*folder.glob("*.py"), *folders]}
    assert set(import_module(face).__all__) & inside <= {"errors"}


@every_face
def test_other_names_are_refused(face: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{face}' has no attribute 'nonsense'"):
        _ = import_module(face).nonsense


def loaded(statement: str) -> set[str]:
    """Modules of ours, numpy and onnxruntime that a fresh Python has after ``statement``."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    roots = {"gpt2edge", "numpy", "onnxruntime", "tokenizers"}
    return {name for name in done.stdout.split() if name.partition(".")[0] in roots}


def test_a_face_loads_nothing() -> None:
    found = loaded("import gpt2edge.runtime.search, gpt2edge.evaluate, gpt2edge.inside")
    rooms = {"gpt2edge", "gpt2edge.runtime", "gpt2edge.runtime.search", "gpt2edge.evaluate"}
    rooms |= {"gpt2edge.inside"}
    assert found == rooms | {"gpt2edge._lazy"}


def test_a_vote_loads_no_trees_and_no_game() -> None:
    found = loaded("from gpt2edge.runtime.search import MajorityVote")
    inside = {n.removeprefix("gpt2edge.runtime.search.") for n in found if ".search." in n}
    assert "strategies.majority_vote" in inside
    assert not {name for name in inside if "game24" in name or name.startswith("trees")}
    assert {name for name in inside if name.startswith("strategies.")} == {
        "strategies.majority_vote",
        "strategies.strategy",
    }
    assert "verifiers.reward_models" not in inside


def test_whatever_is_passed_or_got_back_is_in_a_face() -> None:
    known = public()
    missing: dict[str, list[str]] = {}
    for home, name in known:
        found = defined(home, name)
        assert found is not None
        for key in met(*found, set()):
            if key not in known and key[1] not in INTERNAL:
                missing.setdefault(".".join(key), []).append(name)
    assert not missing
    assert len(known) > 100


def test_the_walk_sees_parameters_results_fields_and_aliases() -> None:
    found = defined("gpt2edge", "Engine")
    assert found is not None
    names = {name for _, name in met(*found, set())}
    assert {"Stream", "Request", "Score", "Perplexity", "GenerateArguments"} <= names
    found = defined("gpt2edge", "RuntimeOptions")
    assert found is not None
    names = {name for _, name in met(*found, set())}
    assert {"PromptLookup", "DraftModel", "Provider"} <= names
    found = defined("gpt2edge", "Chunk")
    assert found is not None
    assert "TokenLogprob" in {name for _, name in met(*found, set())}


@pytest.fixture(scope="module")
def tiny_engine(tiny_model: ModelDir) -> Engine:
    return gpt2edge.load(tiny_model.path)


@pytest.mark.parametrize("made", ["engine", "decoder", "scheduler", "stream", "request"])
def test_whatever_hangs_on_an_engine_is_in_a_face(made: str, tiny_engine: Engine) -> None:
    """Public attributes, which no signature shows."""
    makers: dict[str, Callable[[], object]] = {
        "engine": lambda: tiny_engine,
        "decoder": lambda: tiny_engine.decoder(rows=1, max_length=8),
        "scheduler": lambda: tiny_engine.scheduler(rows=1, max_length=8),
        "stream": lambda: tiny_engine.stream("a", max_new_tokens=1),
        "request": lambda: tiny_engine.request("a", max_new_tokens=1),
    }
    value = makers[made]()
    known = set(public())
    held = {type(item) for name, item in vars(value).items() if not name.startswith("_")}
    for kind in held:  # itself, or the interface that it implements
        if "gpt2edge" in kind.__module__:
            assert known & {(each.__module__, each.__name__) for each in kind.__mro__}, kind
    assert (type(value).__module__, type(value).__name__) in known
