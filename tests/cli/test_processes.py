"""True processes: interrupts, broken pipes, what a command loads."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gpt2edge import ModelDir
from gpt2edge.cli.commands.generate import _cancelled_by_interrupt
from gpt2edge.cli.display.completion import CompletionView
from tests.cli.running import invoke, start

HEAVY = ["numpy", "onnxruntime", "tokenizers", "onnx", "rich"]
NOT_TO_GENERATE = [
    *("asyncio", "concurrent.futures", "importlib.metadata", "logging", "multiprocessing"),
    *("shutil", "tempfile", "numpy.random", "onnx", "rich"),
    *("gpt2edge.store", "gpt2edge.export", "gpt2edge.quant", "gpt2edge.evaluate.speed"),
    *("gpt2edge.runtime.cache.prompt_cache", "gpt2edge.runtime.search"),
    "gpt2edge.runtime.speculative.speculation",
]
"""Each would take milliseconds from the start of a command that has no use for it."""
if sys.version_info >= (3, 11):  # before, Python's own platform module had it with it
    NOT_TO_GENERATE.append("subprocess")
GENERATE = "gpt2edge.cli.commands.generate"
LONG = ["--token-ids", "1 2 3", "-n", 8000]


def test_module_and_pipe(tiny_model: ModelDir) -> None:
    process = start(["generate", "-m", tiny_model.path, "-n", 3], stdin=subprocess.PIPE)
    out, err = process.communicate(b"hello\n", timeout=60)
    assert process.returncode == 0, err
    assert out.endswith(b"\n")
    assert err == b""


def test_interrupt_ends_a_stream_with_what_there_is(token_model: ModelDir) -> None:
    process = start(["generate", "-m", token_model.path, *LONG])
    assert process.stdout is not None
    first = process.stdout.read(1)  # the stream has begun
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b""
    assert 1 <= len((first + out).split()) < 8000
    assert out.endswith(b"\n")


def test_interrupt_with_json_still_prints_the_object(token_model: ModelDir) -> None:
    process = start(["generate", "-m", token_model.path, *LONG, "--json", "--verbose"])
    assert process.stderr is not None
    process.stderr.readline()  # settings come when the stream is ready and interrupts are caught
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["finish_reason"] == "cancelled"


def test_interrupt_before_the_first_token(tiny_model: ModelDir) -> None:
    result = interrupted("generate", "-m", tiny_model.path, "--verbose", "hello")
    assert result.stdout == "\n"
    assert "0 tokens in 0.000 s, 0.0 tokens/s" in result.stderr
    report = json.loads(interrupted("generate", "-m", tiny_model.path, "--json", "hello").stdout)
    assert (report["token_ids"], report["finish_reason"]) == ([], "cancelled")


def interrupted(*args: object) -> Result:
    """A command that is interrupted when it announces its settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompletionView, "announce", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        result = invoke(*args)
    assert result.exit_code == 130, result.output
    return result


AS_COMPILED_CODE_DOES = "ImportError('initialization failed') from KeyboardInterrupt()"


@pytest.mark.parametrize(
    ("package", "raised"),
    [
        ("click", "KeyboardInterrupt"),
        (GENERATE, "KeyboardInterrupt"),
        ("numpy", "KeyboardInterrupt"),
        ("onnxruntime", AS_COMPILED_CODE_DOES),
    ],
)
def test_interrupt_while_packages_are_loaded(
    package: str, raised: str, tiny_model: ModelDir
) -> None:
    code = (
        "import sys\nclass Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {package!r}: raise {raised}\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from gpt2edge.cli.main import main\n"
        f"sys.argv[1:] = ['generate', '-m', {str(tiny_model.path)!r}, 'hello']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, b"", b"")


@pytest.mark.skipif(os.name != "posix", reason="a shell that closes streams")
@pytest.mark.parametrize(
    ("closed", "args", "code", "words"),
    [
        (">&-", ["generate", "-n", 2, "hello"], 0, ""),
        (
            ">&-",
            ["generate", "-n", 2, "hello", "--json", "-v"],
            0,
            "by your options: max_new_tokens 2",
        ),
        ("2>&-", ["perplexity", "--text", "-"], 0, "perplexity"),
        ("2>&-", ["generate", "-n", 2, "-v", "hello"], 0, ""),
        ("2>&-", ["generate", "--temperature", -1, "hello"], 1, ""),
        ("<&-", ["generate", "-"], 1, "Error: stdin is closed"),
        ("<&-", ["generate"], 2, "Missing argument 'PROMPT'"),
        ("<&-", ["perplexity", "--text", "-"], 1, "Error: stdin is closed"),
        ("<&- >&- 2>&-", ["generate", "-n", 2, "hello"], 0, ""),
    ],
)
def test_closed_streams(
    closed: str, args: list[object], code: int, words: str, tiny_model: ModelDir
) -> None:
    command = [sys.executable, "-m", "gpt2edge", args[0], "-m", tiny_model.path, *args[1:]]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *map(str, command)]
    done = subprocess.run(shell, input=b"some text", capture_output=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert words in (done.stdout + done.stderr).decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16"])
def test_json_loses_nothing_on_a_stdout_of_any_encoding(
    encoding: str, tiny_model: ModelDir
) -> None:
    command = [sys.executable, "-m", "gpt2edge", "generate", "-m", str(tiny_model.path), "-n", "2"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*command, "--json", "-"],
        input="caf\u00e9 \u65e5\u672c".encode(),
        env=environment,
        capture_output=True,
        timeout=60,
    )
    text = done.stdout.decode("utf-16" if encoding == "utf-16" else "ascii")
    assert json.loads(text)["prompt"] == "caf\u00e9 \u65e5\u672c"


def test_what_stdout_cannot_show_is_told_once(tiny_model: ModelDir) -> None:
    command = [sys.executable, "-m", "gpt2edge", "tokenize", "-m", str(tiny_model.path)]
    done = subprocess.run(
        [*command, "caf\u00e9 \u65e5\u672c"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert b"?" in done.stdout
    told = [line for line in done.stderr.decode().splitlines() if "stdout is cp1252" in line]
    assert len(told) == 1
    assert "a question mark stands for each" in told[0]
    assert b"stdout is" not in subprocess.run([*command, "caf"], capture_output=True).stderr


def test_second_interrupt_takes_the_default_action() -> None:
    class Cancelled:
        calls = 0

        def cancel(self) -> None:
            self.calls += 1

    stream = Cancelled()
    with _cancelled_by_interrupt(stream):  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGINT)
        assert stream.calls == 1
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_interrupts_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with _cancelled_by_interrupt(None):  # type: ignore[arg-type]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_reader_that_leaves_causes_no_noise(token_model: ModelDir) -> None:
    with start(["generate", "-m", token_model.path, *LONG]) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "args",
    [
        ["generate", "-n", "2", "hi"],
        ["--help"],
        ["--version"],
        ["quantize", "--help"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_full_disk_is_one_line(args: list[str], unbuffered: str) -> None:
    done = onto_full_disk(args, "stdout", PYTHONUNBUFFERED=unbuffered)
    assert done.stderr == b"Error: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_full_disk_under_a_completion_script() -> None:
    done = onto_full_disk([], "stdout", _GPT2EDGE_COMPLETE="bash_source")
    assert done.stderr == b"Error: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize(("args", "code"), [(["--version"], 0), (["inspect", "-m", "none"], 1)])
def test_full_disk_under_stderr_alone_changes_no_result(args: list[str], code: int) -> None:
    done = onto_full_disk(args, "stderr")
    assert done.returncode == code
    assert bool(done.stdout) == (code == 0)


def onto_full_disk(
    args: list[str], stream: str, **environment: str
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command whose ``stream`` cannot be written to."""
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Path("/dev/full").open("wb") as full:
        return subprocess.run(
            [sys.executable, "-m", "gpt2edge", *args],
            **{**streams, stream: full},
            env={**os.environ, **environment},
            timeout=60,
        )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", [["--help"], ["--version"], ["quantize", "--help"]], ids=" ".join)
def test_reader_that_left_before_causes_no_noise(args: list[str], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "gpt2edge", *args],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        timeout=60,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("args", "absent"),
    [
        (["--help"], [*HEAVY, "importlib.metadata"]),
        (["generate", "--help"], [*HEAVY, "importlib.metadata"]),
        (["generate", "--token-ids", "1 2", "-n", "1", "--temperature", "0"], NOT_TO_GENERATE),
        (["--version"], ["numpy", "onnxruntime", "tokenizers", "onnx", GENERATE]),
        (["quantize", "--help"], ["onnxruntime", "onnx", GENERATE]),
        (["doctor"], ["onnx", "rich", "safetensors", GENERATE]),
    ],
)
def test_commands_load_only_what_they_need(args: Sequence[str], absent: Sequence[str]) -> None:
    code = (
        "import sys\nfrom gpt2edge.cli.main import main\n"
        f"sys.argv[1:] = {list(args)!r}\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print('LOADED', [name for name in {list(absent)!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "LOADED []", done.stdout + done.stderr
