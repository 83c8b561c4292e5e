"""What is begun before click: taken over where it is wanted, else as if it had never been."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gpt2edge import Engine, ModelDir
from gpt2edge.cli import preload as loading
from gpt2edge.cli.preload import Loading, Preload
from tests.cli.running import invoke, start


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> dict[Preload, Loading]:
    """What this test has begun and nobody has taken."""
    found: dict[Preload, Loading] = {}
    monkeypatch.setattr(loading, "_begun", found)
    return found


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("generate -m M hello", Preload(Path("M"))),
        ("generate hello", Preload()),
        ("generate -mM -t2 -n 5 hello", Preload(Path("M"), 2)),
        ("score --model=M --threads 2 --top-k 5 -- a -m N", Preload(Path("M"), 2)),
        ("perplexity -m N --model M", Preload(Path("M"))),
        ("score --no-add-bos a b", Preload(add_bos=False)),
        ("generate --add-bos --special -- --no-add-bos", Preload(add_bos=True)),
        ("generate -m M --help", None),
        ("solve -h", None),
        ("generate -m absent hello", None),
        ("generate -m M -t 0 hello", None),
        ("generate -m M --provider=cpu hello", None),
        ("generate -m M --draft-model M hello", None),
        ("inspect -m M", None),
        ("--version", None),
        ("", None),
    ],
)
def test_only_what_is_plainly_asked_for_is_begun(
    words: str, wanted: Preload | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "M").mkdir()
    (tmp_path / "N").mkdir()
    monkeypatch.chdir(tmp_path)
    asked: list[Preload] = []
    monkeypatch.setattr(loading, "Loading", asked.append)
    loading.begin(words.split())
    assert asked == ([] if wanted is None else [wanted])


@pytest.mark.parametrize("words", ["-t no", f"-t {'9' * 5000}", f"-m {'a' * 5000}", "-m", "-t"])
def test_no_mistake_is_told_too_early(
    words: str,
    begun: dict[Preload, Loading],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("gpt2edge.runtime.bundled.BUNDLED_MODEL", tmp_path)
    loading.begin(["generate", *words.split()])
    assert not begun
    assert capfd.readouterr() == ("", "")


def test_a_command_takes_over_what_it_wants(
    tiny_model: ModelDir, begun: dict[Preload, Loading], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tiny_model.path)
    loading.begin(["generate", "-m", path, "hello"])
    (early,) = begun.values()
    taken: list[Loading] = []
    engine = Loading.engine

    def take(own: Loading) -> Engine:
        taken.append(own)
        return engine(own)

    monkeypatch.setattr(Loading, "engine", take)
    for args in (["-t", 1], ["--no-verify"], ["--prompt-lookup"], [], []):
        assert invoke("generate", "-m", path, "-n", 2, *args, "hello").exit_code == 0
    assert [own is early for own in taken] == [False, False, False, True, False]
    assert not begun


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def damaged_weights(folder: Path) -> None:
    data = bytearray((folder / "model.onnx_data").read_bytes())
    data[-1] ^= 1
    (folder / "model.onnx_data").write_bytes(data)


def damaged_graph(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("harm", [no_config, damaged_weights, damaged_graph])
def test_errors_are_told_once_as_without_it(
    harm: Callable[[Path], None], tiny_model: ModelDir, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model.path, folder)
    harm(folder)
    args = ["generate", "-m", folder, "hello"]
    done = start(args)
    without = invoke(*args)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out.decode(), err.decode()) == (1, "", without.stderr)
    assert without.exit_code == 1


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--bogus"], 2, "No such option"),
        (["-t", "0", "hi"], 2, "is not in the range"),
        (["-n", "2", "-t", "2", "hi"], 0, ""),
    ],
)
def test_nobody_waits_for_what_was_begun_in_vain(
    args: Sequence[str], code: int, words: str, tiny_model: ModelDir
) -> None:
    script = (
        "import sys, threading\nfrom gpt2edge.cli import main, preload as loading\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "loading._begun[None] = None\n"
        f"sys.argv[1:] = ['generate', '-m', {str(tiny_model.path)!r}, *{list(args)!r}]\n"
        "main.main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert words in done.stderr.decode()
    assert (code == 0) == done.stdout.endswith(b"\n")
