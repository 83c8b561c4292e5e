"""How text enters: UTF-8, a byte order mark dropped, CRLF a newline, an argument as it is."""

import json
from pathlib import Path

import pytest

from gpt2edge import Engine
from gpt2edge.errors import FileFormatError
from gpt2edge.export import export_checkpoint
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.search import Allocation, Policy, SolutionFile, Tree
from tests.checkpoints import SMALL, write_checkpoint
from tests.cli.running import error, output_json

BOM = b"\xef\xbb\xbf"
LINES = "The king\nand the queen.\n\nThe end of a story that is long enough to be cut in two.\n"
WINDOWS = BOM + LINES.replace("\n", "\r\n").encode()


@pytest.mark.parametrize("command", ["generate", "tokenize", "score"])
def test_stdin(command: str, tiny_model: ModelDir) -> None:
    more: dict[str, list[object]] = {"generate": ["-n", 3], "score": [" there"], "tokenize": []}
    args = [command, "-m", tiny_model.path, "-", *more[command]]
    plain, windows = (output_json(*args, stdin=data) for data in (LINES.encode(), WINDOWS))
    for report in (plain, windows):
        report.pop("timing", None)
    assert windows == plain


def test_text_files(tiny_model: ModelDir, tmp_path: Path) -> None:
    args = ["perplexity", "-m", tiny_model.path, "--context", 32, "--text"]
    (tmp_path / "text").write_bytes(WINDOWS)
    expected = Engine(tiny_model.path).perplexity(LINES, context=32)
    assert output_json(*args, tmp_path / "text")["perplexity"] == expected.perplexity
    assert output_json(*args, "-", stdin=WINDOWS)["bits_per_byte"] == expected.bits_per_byte


def test_problems(tiny_model: ModelDir, tmp_path: Path) -> None:
    (tmp_path / "problems").write_bytes(BOM + b'{"prompt": "a\\r\\nb"}\r\n\r\n')
    args = ["solve", "-m", tiny_model.path, "-n", 2, "--samples", 1, "--method", "majority"]
    report = output_json(*args, "--problems", tmp_path / "problems")
    assert report["prompt"] == "a\r\nb"  # as JSON spells it


def test_an_argument_stays_as_it_is(tiny_model: ModelDir) -> None:
    for text in ("a\r\nb", "\ufeffa", "a\n"):
        assert output_json("generate", "-m", tiny_model.path, "-n", 1, text)["prompt"] == text


def test_a_carriage_return_by_itself_stays(tiny_model: ModelDir) -> None:
    data = b"one\rtwo\r\n\xef\xbb\xbfthree"
    report = output_json("generate", "-m", tiny_model.path, "-n", 1, stdin=data)
    assert report["prompt"] == "one\rtwo\n\ufeffthree"


def as_windows_saves(path: Path) -> None:
    """Write the file again as an editor there would."""
    path.write_bytes(BOM + path.read_bytes().replace(b"\n", b"\r\n"))


def test_json_files(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "hf")
    Tree("root").save(tmp_path / "tree")
    Policy(arms=(Allocation(method="majority", n=4),)).save(tmp_path / "policy")
    row = {"prompt": "he", "completion": "llo", "answer": None, "score": None}
    (tmp_path / "harvest").write_text(json.dumps(row) + "\n")
    for name in ("hf/config.json", "tree", "policy", "harvest"):
        as_windows_saves(tmp_path / name)
    assert export_checkpoint(tmp_path / "hf", tmp_path / "out").config.n_layer == SMALL["n_layer"]
    assert Tree.load(tmp_path / "tree").root.text == "root"
    assert Policy.load(tmp_path / "policy").arms[0].n == 4
    assert SolutionFile(tmp_path / "harvest").prompts == {"he"}
    (tmp_path / "harvest").write_bytes(b"\xff\n")
    with pytest.raises(FileFormatError, match="holds no harvested solutions: it is not UTF-8 text"):
        SolutionFile(tmp_path / "harvest")


def test_utf16_is_named(tiny_model: ModelDir) -> None:
    line = error("generate", "-m", tiny_model.path, stdin="hé".encode("utf-16"))
    assert line.endswith("byte 0xff at offset 0: it looks like UTF-16; save it as UTF-8")
    line = error("generate", "-m", tiny_model.path, stdin=BOM + b"caf\xe9")
    assert line.endswith("byte 0xe9 at offset 6")
