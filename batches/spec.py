"""BatchSpec: what is done with every row, as plain values that another process can be given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from gpt2edge._checks import check_int, check_one_of
from gpt2edge.batches.generation import Generating
from gpt2edge.batches.tasks import (
    Classification,
    Columns,
    Perplexities,
    RowByRow,
    RowTask,
    Scoring,
)
from gpt2edge.errors import Gpt2EdgeError
from gpt2edge.model_dir import ModelDir, read_json
from gpt2edge.runtime.bundled import BUNDLED_MODEL
from gpt2edge.runtime.engine import Engine
from gpt2edge.runtime.options import RuntimeOptions

TASKS: Final = ("generate", "score", "perplexity", "classify")
"""Names of tasks."""
INPUTS: Final = {
    "generate": Generating.INPUTS,
    "score": Scoring.INPUTS,
    "perplexity": Perplexities.INPUTS,
    "classify": Classification.INPUTS,
}
"""The inputs of each task, which are names of fields unless ``columns`` says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """A task over rows: model, options of the runtime, and arguments.

    ``columns`` maps an input of the task to the field that holds it. ``rows`` is the number of
    sequences that "generate" decodes at once. ``result_field`` is the field that results get.
    """

    task: str = "generate"
    model: Path = BUNDLED_MODEL
    options: RuntimeOptions = field(default_factory=RuntimeOptions)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    n: int = 1
    seed: int = 0
    rows: int = 32
    columns: Mapping[str, str] = field(default_factory=dict)
    result_field: str = "result"

    def __post_init__(self) -> None:
        check_one_of("task", self.task, TASKS)
        check_int("rows", self.rows, 1, 4096)
        check_int("n", self.n, 1, 2**20)
        check_int("seed", self.seed, 0, 2**63 - 1)
        for name in self.columns:
            check_one_of("columns", name, INPUTS[self.task])

    def open(self, engine: Engine | None = None) -> RowTask:
        """Return the task over ``engine``, by default the model loaded anew.

        Raises Gpt2EdgeError where the model does not fit the task.
        """
        engine = engine or Engine(self.model, self.options)
        columns = Columns(names=self.columns)
        if self.task == "classify":
            return RowByRow(Classification(engine, columns, _labels(engine)))
        engine.model.require_language_model()
        if self.task == "score":
            return RowByRow(Scoring(engine, columns))
        if self.task == "perplexity":
            return RowByRow(Perplexities(engine, columns))
        engine.request("a", n=self.n, **self.arguments)  # a wrong argument fails before the rows
        return Generating(
            engine=engine,
            columns=columns,
            arguments=self.arguments,
            n=self.n,
            seed=self.seed,
            rows=self.rows,
        )

    def facts(self) -> dict[str, Any]:
        """Return what results depend on, as JSON values: not the speed, the threads or the rows."""
        files = ModelDir.open(self.model).manifest.files
        hashes = sorted((name, record.sha256) for name, record in files.items())
        return {
            "model": sha256(repr(hashes).encode()).hexdigest(),
            "task": self.task,
            "columns": dict(self.columns),
            "arguments": {name: repr(value) for name, value in sorted(self.arguments.items())},
            "n": self.n,
            "seed": self.seed,
            "result_field": self.result_field,
        }


def _labels(engine: Engine) -> tuple[str, ...]:
    """Return the labels of a classifier in order; empty where its config names none."""
    task = engine.model.manifest.task
    if task != "sequence-classification":
        raise Gpt2EdgeError(
            f"{str(engine.model.path)!r} is a model for {task}: classify needs one for "
            "sequence-classification"
        )
    names = read_json(engine.model.path / "config.json").get("id2label") or {}
    return tuple(names[str(index)] for index in range(len(names)))
