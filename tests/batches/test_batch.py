"""Batches over files: the rows of any run, split or order equal those of one plain run."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2edge
from gpt2edge import Engine
from gpt2edge.batches.generation import row_seed
from gpt2edge.batches.rows import LONGEST_LINE, read_rows
from gpt2edge.errors import ArgumentError, FileFormatError, Gpt2EdgeError
from tests.cli.running import error, invoke, output_json
from tests.runtime.models import make_engine

SAMPLED: dict[str, Any] = {"temperature": 0.9, "top_k": 40, "max_new_tokens": 12}
OPENINGS = ("he", "the well", "a", "hello, he said to the well that the hell", "")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return make_engine(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="module")
def model(engine: Engine) -> Path:
    return engine.model.path


def rows_of(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{OPENINGS[at % 5]} {at}", "id": f"row {at}"} for at in range(count)]


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_row_is_what_the_engine_gives_for_it_alone(
    engine: Engine, model: Path, tmp_path: Path
) -> None:
    given = rows_of(23)
    source = write(tmp_path / "in.jsonl", given)
    report = gpt2edge.batch(source, tmp_path / "out", model=model, seed=3, rows=4, **SAMPLED)
    assert (report.rows, report.errors, report.continued) == (23, 0, 0)
    found = read(tmp_path / "out")
    assert [row["index"] for row in found] == list(range(23))
    assert [{key: row[key] for key in ("prompt", "id")} for row in found] == given
    for row in found:
        alone = engine.generate(row["prompt"], seed=row_seed(3, row["id"]), **SAMPLED)
        assert row["result"]["text"] == alone.text
        assert row["result"]["tokens"] == len(alone.token_ids)
    assert len({row["result"]["text"] for row in found}) > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out"]


def test_order_split_and_width_change_no_text(model: Path, tmp_path: Path) -> None:
    given = rows_of(30)

    def texts(part: list[dict[str, Any]], **options: Any) -> dict[str, str]:
        source = write(tmp_path / "in.jsonl", part)
        gpt2edge.batch(source, tmp_path / "out", model=model, **SAMPLED, **options)
        return {row["id"]: row["result"]["text"] for row in read(tmp_path / "out")}

    whole = texts(given)
    assert texts(given[::-1], rows=1) == whole
    assert texts(given[:11], rows=3) | texts(given[11:], rows=64) == whole
    assert texts(given, seed=1) != whole


def test_rows_override_arguments(engine: Engine, model: Path, tmp_path: Path) -> None:
    options = [{}, {"max_new_tokens": 3}, {"temperature": 0}, {"n": 2}, {"temprature": 1}, 7]
    rows = [{"prompt": "he", "options": each} for each in options]
    source = write(tmp_path / "in.jsonl", rows)
    gpt2edge.batch(source, tmp_path / "out", model=model, **SAMPLED)
    found = read(tmp_path / "out")
    assert [row.get("result", {}).get("tokens") for row in found[:3]] == [12, 3, 12]
    assert found[2]["result"]["text"] == engine.generate("he", max_new_tokens=12).text
    assert len(found[3]["result"]["completions"]) == 2
    assert "did you mean temperature" in found[4]["error"]
    assert "must be an object" in found[5]["error"]


def test_a_wrong_row_has_an_error_of_its_own(model: Path, tmp_path: Path) -> None:
    lines: list[bytes] = [
        b'{"prompt": "he"}',
        b"{not json",
        b'{"prompt": "\xff"}',
        b"[1, 2]",
        b"",
        b'{"text": "he"}',
        b'{"prompt": 4}',
        b'{"prompt": "he", "x": NaN}',
        b'{"prompt": "' + b"he " * 2000 + b'"}',
        b'{"prompt": "he", "result": 1}',
        b'{"prompt": [104, 999]}',
        b"[" * 100_000,
        b'{"prompt": "\\ud800"}',
        b'{"prompt": [104, 101]}',
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    report = gpt2edge.batch(tmp_path / "in.jsonl", tmp_path / "out", model=model, max_new_tokens=2)
    found = read(tmp_path / "out")
    assert len(found) == report.rows == len(lines) - 1
    wrong = {row["index"]: row["error"] for row in found if "error" in row}
    said = {
        1: "not JSON",
        2: "not UTF-8",
        3: "not an object",
        4: "no field 'prompt'; it has 'text'",
        5: "must be a text or token ids",
        6: "NaN",
        7: "tokens",
        8: "'result'",
        9: "999",
        10: "nested too deeply",
    }
    assert {index: said[index] in wrong.get(index, "") for index in said} == dict.fromkeys(
        said, True
    )
    assert wrong.keys() - said.keys() <= {11}  # a lone surrogate, which is no text
    assert report.errors == len(wrong)
    assert next(row["index"] for row in found if "result" in row) == 0


def test_a_line_that_is_too_long_is_read_past(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        file.write(b"x" * (LONGEST_LINE + 5) + b'\n{"prompt": "he"}\n')
    first, second = read_rows(path)
    assert first.error
    assert second.fields == {"prompt": "he"}


def test_a_row_whose_time_is_over_is_written_too(model: Path, tmp_path: Path) -> None:
    """Rows that end while they wait for a row of the cache come from no step of the scheduler."""
    source = write(tmp_path / "in.jsonl", rows_of(40))
    stop = gpt2edge.StopParams(max_time=1e-9)
    gpt2edge.batch(source, tmp_path / "out", model=model, rows=2, stop=stop, **SAMPLED)
    reasons = [row["result"]["finish_reason"] for row in read(tmp_path / "out")]
    assert reasons == ["time"] * 40


def test_an_engine_is_used_as_it_is(engine: Engine, model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", rows_of(6))
    gpt2edge.batch(source, tmp_path / "loaded", model=engine, **SAMPLED)
    gpt2edge.batch(source, tmp_path / "named", model=model, **SAMPLED)
    assert (tmp_path / "loaded").read_bytes() == (tmp_path / "named").read_bytes()
    first = {**rows_of(6)[0], "index": 0}
    gpt2edge.batch(source, tmp_path / "two", model=engine, limit=2, **SAMPLED)
    assert [{**first, "result": read(tmp_path / "named")[0]["result"]}] == read(tmp_path / "two")[
        :1
    ]
    assert len(read(tmp_path / "two")) == 2


class StopError(Exception):
    """Ends a run in the middle."""


@pytest.mark.parametrize("torn", [b"", b'{"prompt": "he", "index": 9', b"\0\0\0\n"])
def test_a_run_that_was_broken_off_goes_on(model: Path, tmp_path: Path, torn: bytes) -> None:
    source = write(tmp_path / "in.jsonl", rows_of(40))
    gpt2edge.batch(source, tmp_path / "whole", model=model, **SAMPLED)
    target, stops = tmp_path / "out", iter((3, 17, 18, 39))

    def stop_at(count: int) -> Any:
        def progress(done: int, errors: int) -> None:  # noqa: ARG001
            if done >= count:
                raise StopError

        return progress

    for count in stops:
        with pytest.raises(StopError):
            gpt2edge.batch(source, target, model=model, rows=5, progress=stop_at(count), **SAMPLED)
        assert not target.exists()
        with (tmp_path / "out.partial").open("ab") as file:
            file.write(torn)
    report = gpt2edge.batch(source, target, model=model, **SAMPLED)
    assert report.continued == 39
    assert target.read_bytes() == (tmp_path / "whole").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


def test_another_run_is_not_continued(model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", rows_of(9))

    def begin(**arguments: Any) -> Any:
        return gpt2edge.batch(source, tmp_path / "out", model=model, **{**SAMPLED, **arguments})

    def stop(done: int, errors: int) -> None:  # noqa: ARG001
        raise StopError

    with pytest.raises(StopError):
        begin(progress=stop)
    for changed, name in (({"seed": 4}, "seed"), ({"top_k": 3}, "arguments"), ({"n": 2}, "n")):
        with pytest.raises(FileFormatError, match=f"another {name}"):
            begin(**changed)
    assert begin(seed=4, restart=True).rows == 9
    with pytest.raises(StopError):
        begin(progress=stop)
    write(source, rows_of(10))
    with pytest.raises(FileFormatError, match="another input"):
        begin()


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_forms_hold_the_same_rows(model: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("pyarrow" if suffix == ".parquet" else "json")
    pytest.importorskip("zstandard" if suffix == ".jsonl.zst" else "json")
    given = rows_of(7)
    plain = write(tmp_path / "in.jsonl", given)
    gpt2edge.batch(plain, tmp_path / "out.jsonl", model=model, **SAMPLED)
    packed = tmp_path / f"out{suffix}"
    gpt2edge.batch(plain, packed, model=model, **SAMPLED)
    again = [dict(row.fields) for row in read_rows(packed)]
    assert again == read(tmp_path / "out.jsonl")
    before = packed.read_bytes()
    gpt2edge.batch(plain, packed, model=model, **SAMPLED)
    assert packed.read_bytes() == before


def test_scores_and_perplexities_are_the_engines(
    engine: Engine, model: Path, tmp_path: Path
) -> None:
    completions = [" well", " hello there", "x"]
    rows = [{"q": "he", "completions": completions}, {"q": "a"}]
    source = write(tmp_path / "in.jsonl", rows)
    gpt2edge.batch(source, tmp_path / "out", model=model, task="score", columns={"prompt": "q"})
    first, second = read(tmp_path / "out")
    scores = engine.score("he", completions)
    assert first["result"]["logprobs"] == [score.logprob for score in scores]
    assert first["result"]["best"] == int(np.argmax([score.logprob for score in scores]))
    assert "completions" in second["error"]
    source = write(tmp_path / "in.jsonl", [{"text": "hello, well"}, {"text": ""}])
    gpt2edge.batch(source, tmp_path / "out", model=model, task="perplexity")
    first, second = read(tmp_path / "out")
    assert first["result"]["perplexity"] == engine.perplexity("hello, well").perplexity
    assert "empty" in second["error"]


def test_classify_needs_a_classifier(model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [{"text": "he"}])
    with pytest.raises(Gpt2EdgeError, match="sequence-classification"):
        gpt2edge.batch(source, tmp_path / "out", model=model, task="classify")
    assert not (tmp_path / "out").exists()


def test_wrong_arguments_are_said_before_anything_is_written(model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", rows_of(2))
    for arguments in (
        {"task": "sing"},
        {"columns": {"question": "q"}},
        {"rows": 0},
        {"temperature": -1},
        {"limit": 0},
        {"result_field": ""},
    ):
        with pytest.raises(ValueError, match=r"must be|columns"):
            gpt2edge.batch(source, tmp_path / "out", model=model, **arguments)
    with pytest.raises(ArgumentError, match="both the input and the output"):
        gpt2edge.batch(source, source, model=model)
    with pytest.raises(FileNotFoundError):
        gpt2edge.batch(tmp_path / "none", tmp_path / "out", model=model)
    with pytest.raises(IsADirectoryError):
        gpt2edge.batch(tmp_path, tmp_path / "out", model=model)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.slow
def test_replicas_write_the_same_bytes(model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [*rows_of(150), {"prompt": 1}])
    gpt2edge.batch(source, tmp_path / "one", model=model, **SAMPLED)
    report = gpt2edge.batch(source, tmp_path / "two", model=model, replicas=2, rows=2, **SAMPLED)
    assert (report.rows, report.errors) == (151, 1)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_killed_at_any_moment(model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", rows_of(400))
    options = ["-m", str(model), "-n", "12", "--temperature", "0.9", "--rows", "4", "-t", "1"]
    command = [sys.executable, "-m", "gpt2edge", "batch", str(source)]
    subprocess.run([*command, str(tmp_path / "whole"), *options], check=True, capture_output=True)
    waits, target, killed = random.Random(0), tmp_path / "out", 0
    while not target.exists():
        process = subprocess.Popen([*command, str(target), *options], stderr=subprocess.PIPE)
        partial, begun = tmp_path / "out.partial", time.monotonic()
        before = partial.stat().st_size if partial.exists() else 0
        while process.poll() is None and time.monotonic() - begun < 60:
            if killed < 8 and partial.exists() and partial.stat().st_size > before + 900:
                time.sleep(waits.random() / 50)
                process.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.002)
        assert process.wait() in (0, -signal.SIGKILL)
        assert process.stderr is not None
        process.stderr.close()
    assert killed >= 3
    assert target.read_bytes() == (tmp_path / "whole").read_bytes()


def test_command(model: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", rows_of(5))
    options = ["-m", model, "-n", 6, "--temperature", 0.7, "--seed", 5]
    report = output_json("batch", source, tmp_path / "out", *options)
    assert (report["rows"], report["errors"]) == (5, 0)
    piped = invoke("batch", "-", "-", *options, stdin=source.read_bytes())
    assert piped.exit_code == 0
    assert piped.stdout == (tmp_path / "out").read_text()
    with gzip.open(tmp_path / "in.jsonl.gz", "wb") as file:
        file.write(source.read_bytes())
    assert output_json("batch", tmp_path / "in.jsonl.gz", tmp_path / "o2", *options)["rows"] == 5
    assert (tmp_path / "o2").read_text() == piped.stdout
    assert "NAME=FIELD" in error("batch", source, tmp_path / "o3", "-m", model, "--columns", "x")
    assert "no-such" in error("batch", tmp_path / "no-such", tmp_path / "o3", "-m", model)
    write(source, [{"prompt": 3}])
    assert invoke("batch", source, tmp_path / "o4", *options).exit_code == 1
