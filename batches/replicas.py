"""Replicas: several processes with an engine each, which share the rows of one input."""

import multiprocessing
import queue
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from gpt2edge.batches.rows import Row
from gpt2edge.batches.spec import BatchSpec
from gpt2edge.batches.tasks import Result
from gpt2edge.errors import Gpt2EdgeError

_CHECKED_EVERY: Final = 1.0
"""Seconds between two looks whether every process is alive."""


class Replicas:
    """Runs a task in ``count`` processes; rows go to whichever has room.

    Each holds up to twice as many rows as it decodes at once, so that no process waits for rows.
    """

    def __init__(self, spec: BatchSpec, count: int) -> None:
        self._spec, self._count = spec, count

    def run(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Result]]:
        """Yield every row once with its result, in the order in which they end.

        Raises Gpt2EdgeError where a process cannot begin or ends.
        """
        context = multiprocessing.get_context("spawn")
        held = 16 * self._spec.rows * self._count
        tasks: Any = context.Queue(held)
        results: Any = context.Queue()
        processes = [
            context.Process(target=_work, args=(self._spec, tasks, results), daemon=True)
            for _ in range(self._count)
        ]
        for process in processes:
            process.start()
        source, waiting = iter(rows), 0
        try:
            for row in islice(source, held):
                tasks.put(row)
                waiting += 1
            if waiting < held:
                self._say_end(tasks)
            while waiting:
                done, result = _next(results, processes)
                if done is None:
                    raise Gpt2EdgeError(f"a replica failed: {result}")
                following = next(source, None) if waiting >= held else None
                yield done, result
                waiting -= 1
                if following is not None:
                    tasks.put(following)
                    waiting += 1
                elif waiting == held - 1:
                    self._say_end(tasks)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.join()

    def _say_end(self, tasks: Any) -> None:
        for _ in range(self._count):
            tasks.put(None)


def _next(results: Any, processes: list[Any]) -> tuple[Row | None, Result]:
    """Wait for the next result. Raises Gpt2EdgeError where a process has ended early."""
    while True:
        try:
            found: tuple[Row | None, Result] = results.get(timeout=_CHECKED_EVERY)
            return found
        except queue.Empty:
            dead = [process.exitcode for process in processes if process.exitcode]
            if dead:
                raise Gpt2EdgeError(
                    f"a replica ended with exit code {dead[0]}: the rows so far are kept; run the "
                    "same command again to continue"
                ) from None


def _work(spec: BatchSpec, tasks: Any, results: Any) -> None:
    """Run the task of one process until its queue says that no row follows."""
    try:
        task = spec.open()
        for pair in task.run(iter(tasks.get, None)):
            results.put(pair)
    except Gpt2EdgeError as error:
        results.put((None, str(error)))
    except KeyboardInterrupt:
        pass
