"""Batches over files: every row of a file generated, scored, measured or classified."""

from typing import TYPE_CHECKING

from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.batches.rows import Row, read_rows
    from gpt2edge.batches.run import BatchReport, batch
    from gpt2edge.batches.spec import BatchSpec
    from gpt2edge.batches.tasks import RowTask

__all__ = ["BatchReport", "BatchSpec", "Row", "RowTask", "batch", "read_rows"]

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "BatchReport": "gpt2edge.batches.run",
            "BatchSpec": "gpt2edge.batches.spec",
            "Row": "gpt2edge.batches.rows",
            "RowTask": "gpt2edge.batches.tasks",
            "batch": "gpt2edge.batches.run",
            "read_rows": "gpt2edge.batches.rows",
        },
    )
