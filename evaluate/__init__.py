"""How good, how fast and how large models are, and how far one is from another.

``compare`` and what it returns are in ``gpt2edge.quant``, whose extra they need.
"""

from typing import TYPE_CHECKING

from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.evaluate.evaluation import Questions, SpeedPlan, evaluate
    from gpt2edge.evaluate.plot import svg_plot
    from gpt2edge.evaluate.pooling import pool
    from gpt2edge.evaluate.problems import read_blimp, read_lambada
    from gpt2edge.evaluate.quality import Quality, measure_quality
    from gpt2edge.evaluate.records import EvaluatedModel, Evaluation, Machine, Spread
    from gpt2edge.evaluate.speed import (
        BenchmarkTest,
        Figures,
        ModelFigures,
        Sample,
        benchmark,
        plan_tests,
    )
    from gpt2edge.evaluate.table import csv_table, markdown_table

__all__ = [
    "BenchmarkTest",
    "EvaluatedModel",
    "Evaluation",
    "Figures",
    "Machine",
    "ModelFigures",
    "Quality",
    "Questions",
    "Sample",
    "SpeedPlan",
    "Spread",
    "benchmark",
    "csv_table",
    "evaluate",
    "markdown_table",
    "measure_quality",
    "plan_tests",
    "pool",
    "read_blimp",
    "read_lambada",
    "svg_plot",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "BenchmarkTest": "gpt2edge.evaluate.speed",
            "EvaluatedModel": "gpt2edge.evaluate.records",
            "Evaluation": "gpt2edge.evaluate.records",
            "Figures": "gpt2edge.evaluate.speed",
            "Machine": "gpt2edge.evaluate.records",
            "ModelFigures": "gpt2edge.evaluate.speed",
            "Quality": "gpt2edge.evaluate.quality",
            "Questions": "gpt2edge.evaluate.evaluation",
            "Sample": "gpt2edge.evaluate.speed",
            "SpeedPlan": "gpt2edge.evaluate.evaluation",
            "Spread": "gpt2edge.evaluate.records",
            "benchmark": "gpt2edge.evaluate.speed",
            "csv_table": "gpt2edge.evaluate.table",
            "evaluate": "gpt2edge.evaluate.evaluation",
            "markdown_table": "gpt2edge.evaluate.table",
            "measure_quality": "gpt2edge.evaluate.quality",
            "plan_tests": "gpt2edge.evaluate.speed",
            "pool": "gpt2edge.evaluate.pooling",
            "read_blimp": "gpt2edge.evaluate.problems",
            "read_lambada": "gpt2edge.evaluate.problems",
            "svg_plot": "gpt2edge.evaluate.plot",
        },
    )
