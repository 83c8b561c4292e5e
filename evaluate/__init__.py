"""How fast a model is, and how far it is from another.

The speed is here; ``compare`` and what it returns are in ``gpt2edge.quant``, whose extra they need.
"""

from typing import TYPE_CHECKING

from gpt2edge._lazy import lazy_names

if TYPE_CHECKING:
    from gpt2edge.evaluate.speed import (
        BenchmarkTest,
        Figures,
        ModelFigures,
        Sample,
        benchmark,
        plan_tests,
    )

__all__ = [
    "BenchmarkTest",
    "Figures",
    "ModelFigures",
    "Sample",
    "benchmark",
    "plan_tests",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and find a misspelt name
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "BenchmarkTest": "gpt2edge.evaluate.speed",
            "Figures": "gpt2edge.evaluate.speed",
            "ModelFigures": "gpt2edge.evaluate.speed",
            "Sample": "gpt2edge.evaluate.speed",
            "benchmark": "gpt2edge.evaluate.speed",
            "plan_tests": "gpt2edge.evaluate.speed",
        },
    )
