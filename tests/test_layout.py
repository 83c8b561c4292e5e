"""The house: who may import whom, how long a function may be."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import ROOT

CORE: Final = ROOT / "src" / "gpt2edge"
PLUGINS: Final = CORE / "plugins"
PEERS: Final = ROOT / "benchmarks" / "peers"
DOOR: Final = "gpt2edge.runtime.ort.library."
ROOMS: Final = (
    *("graph", "native", "runtime", "batches", "evaluate", "inside", "export", "quant", "cli"),
)
MAY_IMPORT: Final = {
    "core": {"core"},
    "graph": {"core", "graph"},
    "native": {"core", "native"},
    "runtime": {"core", "graph", "native", "runtime"},
    "export": {"core", "graph", "export", "runtime"},
    "batches": {"core", "batches", "runtime"},
    "evaluate": {"core", "graph", "evaluate", "runtime"},
    "inside": {"core", "graph", "inside", "runtime"},
    "quant": {"core", "graph", "evaluate", "quant", "runtime"},
    "cli": {
        *("core", "graph", "batches", "cli", "evaluate", "inside", "native", "runtime", "export"),
        "quant",
    },
    "plugins": {"core", "plugins", "runtime"},
}
"""Rooms of gpt2edge that a room may import."""
NEVER: Final = {
    "core": {"numpy", "onnx", "onnxruntime", "tokenizers", "click", "torch", "transformers"},
    "graph": {"onnxruntime", "tokenizers", "click", "torch", "transformers", "safetensors"},
    "native": {"numpy", "onnx", "onnxruntime", "tokenizers", "click", "torch", "transformers"},
    "runtime": {"onnx", "torch", "transformers", "safetensors", "click", "optimum"},
    "batches": {"onnx", "onnxruntime", "torch", "transformers", "safetensors", "click"},
    "evaluate": {"click", "torch", "transformers"},
    "inside": {"onnx", "onnxruntime", "torch", "transformers", "safetensors", "click"},
    "export": {"click"},
    "quant": {"click", "torch", "transformers"},
    "cli": {"torch", "transformers", "numpy", "onnx", "onnxruntime"},
    "plugins": {"torch", "transformers", "numpy", "onnx", "onnxruntime", "click"},
}
"""Packages that a room may not import by name; cli asks for extras by ``require``."""
OUTSIDE: Final = {"tests", "benchmarks", "training", "examples", "scripts", "tasks"}
LONGEST_FUNCTION: Final = 60
LONGEST_FILE: Final = 400
LONGEST_COMMAND: Final = 40
LONGEST_ENGINE: Final = 230

FACADE: Final = {"__init__.py", "__main__.py", "_pull.py"}
"""The core's doors to the other rooms."""
DOORS: Final = {("runtime", "engine.py"): "gpt2edge.inside.scope.Inside"}
"""What a module may import from a room above its own, on use: the way in from an engine."""


def _modules() -> Iterator[tuple[str, Path]]:
    for room, folder in {"core": CORE, **{r: ROOT / r for r in ROOMS}}.items():
        for path in sorted(folder.rglob("*.py")):
            yield ("plugins" if path.is_relative_to(PLUGINS) else room), path


MODULES: Final = list(_modules())
NAMES: Final = [str(path.relative_to(ROOT)) for _, path in MODULES]
every_module = pytest.mark.parametrize(("room", "path"), MODULES, ids=NAMES)


def _imports(path: Path) -> set[str]:
    """Dotted names that a module imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


def _room_of(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] != "gpt2edge":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in (*ROOMS, "plugins") else "core"


def test_rooms_are_found() -> None:
    assert {room for room, _ in MODULES} == set(MAY_IMPORT)


@every_module
def test_room_imports_only_what_it_may(room: str, path: Path) -> None:
    if room == "core" and path.name in FACADE:
        return
    names = _imports(path) - {DOORS.get((room, path.name))}
    foreign = {name for name in names if (_room_of(name) or room) not in MAY_IMPORT[room]}
    assert not foreign
    assert not _packages(path) & (NEVER[room] | OUTSIDE | set(ROOMS))


WITHOUT_ONNX: Final = {"names.py", "nodes.py", "protobuf.py"}
"""Modules of graph that the runtime imports: it does without onnx, and every start pays for it."""


FLOORS: Final = (
    (
        "arrays",
        "context_window",
        "pooling",
        "results",
        "options",
        "bundled",
        "system",
        "cache",
        "sampling",
    ),
    ("text", "ort"),
    ("arguments", "decoding"),
    ("speculative",),
    ("engine",),
    ("search",),
)
"""Of the runtime, from the ground up: a module imports from its own floor and those below."""


def _floor(name: str) -> int:
    place = name.split(".")[2]
    return next(level for level, rooms in enumerate(FLOORS) if place in rooms)


def _internal(path: Path) -> set[str]:
    """Modules of gpt2edge that a module imports, type checkers' imports included."""
    found = _imports(path)
    return {DOTTED[n] for name in found for n in (name, name.rpartition(".")[0]) if n in DOTTED}


def _dotted(room: str, path: Path) -> str:
    base = CORE if room in ("core", "plugins") else ROOT / room
    parts = [*([] if base == CORE else [room]), *path.relative_to(base).with_suffix("").parts]
    return ".".join(["gpt2edge", *parts]).removesuffix(".__init__")


DOTTED: Final = {_dotted(room, path): _dotted(room, path) for room, path in MODULES}


@every_module
def test_the_runtime_imports_from_its_own_floor_and_below(room: str, path: Path) -> None:
    dotted = _dotted(room, path)
    if room == "runtime" and dotted != "gpt2edge.runtime":
        above = [
            name
            for name in _internal(path)
            if name.startswith("gpt2edge.runtime.") and _floor(name) > _floor(dotted)
        ]
        assert not above


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checkers and inside functions count: whoever reads must read all of it."""
    arrows = {_dotted(room, path): _internal(path) for room, path in MODULES}
    arrows = {name: found - {name, "gpt2edge"} for name, found in arrows.items()}
    sorter = TopologicalSorter(
        {name: found for name, found in arrows.items() if name != "gpt2edge"}
    )
    sorter.prepare()  # raises CycleError, which shows the circle


@every_module
def test_the_runtime_shares_only_modules_without_onnx(room: str, path: Path) -> None:
    found = _imports(path)
    if room == "graph" and path.name in WITHOUT_ONNX:
        others = {name.split(".")[2] for name in found if name.startswith("gpt2edge.graph.")}
        assert {f"{name}.py" for name in others} <= WITHOUT_ONNX
        known = {"collections", "gpt2edge", "struct", "typing"}
        assert {name.split(".")[0] for name in found} <= known
    if room in ("runtime", "plugins", "inside"):
        shared = {name.split(".")[2] for name in found if name.startswith("gpt2edge.graph.")}
        assert {f"{name}.py" for name in shared} <= WITHOUT_ONNX


@every_module
def test_only_the_session_knows_onnxruntime(room: str, path: Path) -> None:
    if room == "runtime" and path.name not in ("session.py", "binding.py"):
        assert not any(name.startswith(DOOR) for name in _imports(path))


def test_onnxruntime_comes_through_one_door() -> None:
    """Elsewhere it would be imported with its telemetry on."""
    scripts = [path for folder in OUTSIDE for path in (ROOT / folder).rglob("*.py")]
    paths = [*scripts, *(path for _, path in MODULES)]
    through_it = {path for path in paths if "onnxruntime" in _packages(path)}
    in_its_own_environment = {path for path in paths if path.is_relative_to(PEERS)}
    assert through_it - in_its_own_environment == {ROOT / "runtime" / "ort" / "library.py"}


@pytest.mark.parametrize("path", [path for _, path in MODULES], ids=NAMES)
def test_nothing_is_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, node.name
            if any(ast.unparse(item).startswith("click.command") for item in node.decorator_list):
                assert length - _docstring_lines(node) <= LONGEST_COMMAND, node.name


def test_the_engine_is_short() -> None:
    """What it does stands elsewhere; it says what there is."""
    tree = ast.parse((ROOT / "runtime" / "engine.py").read_text(encoding="utf-8"))
    (engine,) = [item for item in tree.body if isinstance(item, ast.ClassDef)]
    assert (engine.end_lineno or 0) - engine.lineno + 1 < LONGEST_ENGINE


def _docstring_lines(node: ast.FunctionDef) -> int:
    first = node.body[0]
    assert ast.get_docstring(node), f"{node.name} needs a docstring: it is the help"
    return (first.end_lineno or 0) - first.lineno + 1
