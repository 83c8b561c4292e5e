"""True processes: interrupts, broken pipes, what a command loads."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gpt2edge import ModelDir
from gpt2edge.cli.generate import _cancelled_by_interrupt
from tests.cli.running import start

HEAVY = ["numpy", "onnxruntime", "tokenizers", "onnx", "rich"]
LONG = ["--token-ids", "1 2 3", "-n", 8000]


@pytest.fixture(autouse=True)
def _interrupts_as_in_a_terminal() -> Iterator[None]:
    """A job in the background of a script starts with interrupts ignored, its children too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
def test_full_disk_is_one_line(tiny_model: ModelDir) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "gpt2edge", "generate", "-m", str(tiny_model.path), "hi"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"Error: No space left on device\n"


@pytest.mark.parametrize(
    ("args", "absent"),
    [
        (["--help"], [*HEAVY, "importlib.metadata"]),
        (["generate", "--help"], [*HEAVY, "importlib.metadata"]),
        (["--version"], ["numpy", "onnxruntime", "tokenizers", "onnx", "gpt2edge.cli.generate"]),
        (["quantize", "--help"], ["onnxruntime", "onnx", "gpt2edge.cli.generate"]),
        (["doctor"], ["onnx", "rich", "safetensors", "gpt2edge.cli.generate"]),
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
