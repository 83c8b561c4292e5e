"""Tables from made-up rows: which ratios they hold, and what they leave out."""

from typing import Any

import pytest

from benchmarks.common import report


def row(system: str, variant: str, speed: float, **more: Any) -> dict[str, Any]:
    label = f"{system} {variant}"
    return {"system": system, "variant": variant, "label": label, "test": "tg64@d32"} | {
        "p50_ts": speed,
        "perplexity_increase": {"value": 0.005, "standard_error": 0.001},
        **more,
    }


def test_ratios_are_of_the_fastest_on_either_side() -> None:
    rows = [
        row("gpt2edge", "fp32", 60.0),
        row("gpt2edge", "int4", 200.0),
        row("gpt2edge", "int4", 300.0, recipe="int4+int8-cache", label="gpt2edge int4+int8-cache"),
        row("llama.cpp", "F32", 50.0),
        row("llama.cpp", "Q4_0", 400.0),
        row("OpenVINO", "int4", 100.0),
        row("OpenVINO", "int8", 500.0),
    ]
    cells = report.ratio_table(rows).splitlines()[-1].split(" | ")
    assert cells[1:] == [
        "**1.20 x** fp32 / llama.cpp F32",
        "-",
        "**0.75 x** int4+int8-cache / llama.cpp Q4_0",
        "**0.60 x** int4+int8-cache / OpenVINO int8 |",
    ]


@pytest.mark.parametrize(
    ("variant", "bits"), [("fp32", 32), ("F32", 32), ("int8-block", 8), ("Q4_0", 4), ("int4", 4)]
)
def test_bits_by_name(variant: str, bits: int) -> None:
    assert report.bits({"variant": variant}) == bits


def test_increase_is_said_or_said_to_be_missing() -> None:
    assert report.increase(row("gpt2edge", "int4", 1.0)) == "+0.50% ± 0.10%"
    assert report.increase(row("gpt2edge", "fp32", 1.0)) == "0"
    assert report.increase({"variant": "int4"}) == "not measured"
