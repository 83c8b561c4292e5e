"""Run a batch: read rows, compute them in any order, and write them in the order of the input."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from gpt2edge._checks import check_int, check_path, check_text
from gpt2edge.batches.files import STANDARD, check_packages
from gpt2edge.batches.journal import Journal, encoded, identity
from gpt2edge.batches.replicas import Replicas
from gpt2edge.batches.rows import Row, read_rows
from gpt2edge.batches.spec import BatchSpec
from gpt2edge.batches.tasks import Result, RowTask
from gpt2edge.errors import ArgumentError
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gpt2edge.runtime.arguments import GenerateArguments


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What a batch did: ``rows`` in the target, ``errors`` among those of this run.

    ``continued`` rows were there from an earlier, interrupted run. ``seconds`` is the time of this
    run, without the loading of the model.
    """

    rows: int
    errors: int
    continued: int
    seconds: float


class _Sink(Protocol):
    done: int

    def write(self, row: Mapping[str, Any]) -> None:
        """Write the next row."""


def batch(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    model: str | PathLike[str] | Engine | None = None,
    task: str = "generate",
    options: RuntimeOptions | None = None,
    n: int = 1,
    rows: int = 32,
    replicas: int = 1,
    columns: Mapping[str, str] | None = None,
    result_field: str = "result",
    limit: int | None = None,
    restart: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **arguments: "Unpack[GenerateArguments]",
) -> BatchReport:
    """Compute every row of a file, and write the rows with their results to another file.

    ``source`` and ``target`` are JSON Lines (also ``.gz`` and ``.zst``) or ``.parquet``; "-" is
    stdin or stdout. Each row of the target has the fields of its row, ``index``, and the result in
    ``result_field`` or what went wrong in ``error``: a wrong row does not end the batch. Rows keep
    their order. ``task`` is one of "generate", "score", "perplexity" and "classify"; ``columns``
    names the fields that it reads, where they have other names. ``arguments`` are those of
    ``Engine.generate``; ``seed`` is 0 by default.

    ``model`` is a folder, a stored model's name or an engine; ``options`` are used to load it.

    An interrupted batch continues after its last complete row when it is called again, unless
    ``restart``. Each row has its own random stream, from ``seed`` and its field ``id``, or its
    index, so that it gets the same text in any order and split of the rows. ``rows`` sequences are
    decoded at once in each of ``replicas`` processes. They change no result where
    ``Decoder.batch_invariant``, in float32 and in ``int8-block``. ``progress`` is called with the
    numbers of rows done and failed.

    Raises FileFormatError where the target was started with other arguments, Gpt2EdgeError where
    the model does not fit the task, ValueError for a wrong argument, OSError for files.
    """
    check_path("source", source)
    check_path("target", target)
    check_text("result_field", result_field, empty=False)
    check_int("replicas", replicas, 1, 1024)
    if limit is not None:
        check_int("limit", limit, 1, 2**63 - 1)
    fixed: dict[str, Any] = dict(arguments)
    engine = model if isinstance(model, Engine) else None
    spec = BatchSpec(
        task=task,
        model=_folder(model),
        options=options or (engine.options if engine else RuntimeOptions()),
        seed=fixed.pop("seed", None) or 0,
        arguments=fixed,
        n=n,
        rows=rows,
        columns=columns or {},
        result_field=result_field,
    )
    _check_files(source, target)
    runner: RowTask = Replicas(spec, replicas) if replicas > 1 else spec.open(engine)
    return _run(spec, runner, source, target, limit, restart=restart, progress=progress)


def _run(
    spec: BatchSpec,
    runner: RowTask,
    source: str | PathLike[str],
    target: str | PathLike[str],
    limit: int | None,
    *,
    restart: bool,
    progress: Callable[[int, int], None] | None,
) -> BatchReport:
    started = perf_counter()
    if str(target) == STANDARD:
        sink: _Sink = _Standard()
        errors = _write(sink, runner, read_rows(source, limit=limit), spec.result_field, progress)
        return _report(sink, errors, 0, started)
    facts = {"input": _identity(source), "limit": limit, **spec.facts()}
    with Journal(Path(target), facts, restart=restart) as journal:
        continued = journal.done
        waiting = read_rows(source, first=continued, limit=limit)
        errors = _write(journal, runner, waiting, spec.result_field, progress)
        journal.finish()
    return _report(journal, errors, continued, started)


def _report(sink: _Sink, errors: int, continued: int, started: float) -> BatchReport:
    seconds = perf_counter() - started
    return BatchReport(rows=sink.done, errors=errors, continued=continued, seconds=seconds)


class _Standard:
    """Writes rows to stdout."""

    def __init__(self) -> None:
        self.done = 0

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row at once."""
        import sys

        sys.stdout.buffer.write(encoded(row))
        sys.stdout.buffer.flush()
        self.done += 1


def _write(
    sink: _Sink,
    task: RowTask,
    rows: Iterable[Row],
    result_field: str,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Write the rows in order, each with its result; return how many have an error."""
    errors = 0
    for row, result in in_order(all_results(task, rows, result_field), first=sink.done):
        failed = isinstance(result, str)
        errors += failed
        own = {"error" if failed else result_field: result}
        sink.write({**row.fields, "index": row.index, **own})
        if progress is not None:
            progress(sink.done, errors)
    return errors


def all_results(
    task: RowTask, rows: Iterable[Row], result_field: str
) -> Iterator[tuple[Row, Result]]:
    """Yield the results of a task, and those rows that have an error before it sees them."""
    wrong: list[tuple[Row, Result]] = []

    def good() -> Iterator[Row]:
        for row in rows:
            taken = next((name for name in ("error", result_field) if name in row.fields), None)
            if row.error is not None:
                wrong.append((row, row.error))
            elif taken is not None:
                wrong.append((row, f"the row has a field {taken!r}, which results are written to"))
            else:
                yield row

    for pair in task.run(good()):
        yield from wrong
        wrong.clear()
        yield pair
    yield from wrong


def in_order(
    results: Iterable[tuple[Row, Result]], *, first: int = 0
) -> Iterator[tuple[Row, Result]]:
    """Yield results in the order of the rows' indices, from ``first`` on."""
    held: dict[int, tuple[Row, Result]] = {}
    for row, result in results:
        held[row.index] = (row, result)
        while first in held:
            yield held.pop(first)
            first += 1


def _folder(model: str | PathLike[str] | Engine | None) -> Path:
    if isinstance(model, Engine):
        return model.model.path
    return BUNDLED_MODEL if model is None else ModelDir.open(model).path


def _identity(source: str | PathLike[str]) -> Any:
    return STANDARD if str(source) == STANDARD else identity(Path(source))


def _check_files(source: str | PathLike[str], target: str | PathLike[str]) -> None:
    """Raise ArgumentError, OSError or MissingExtraError for files that cannot be used."""
    check_packages(source, target)
    if str(source) != STANDARD:
        Path(source).open("rb").close()
    if str(target) == STANDARD:
        return
    place = Path(target)
    if place.is_dir():
        raise ArgumentError(f"{place} is a folder: name the file to write")
    if str(source) != STANDARD and place.exists() and place.samefile(source):
        raise ArgumentError(f"{place} is both the input and the output: name another file to write")
    if not place.parent.is_dir():
        raise FileNotFoundError(2, "No such folder", str(place.parent))
