"""From the Hub to the store, in true processes, against a double of the Hub."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpt2edge import ModelDir
from tests.cli.hub_server import COMMIT, NAME, Repository, serve
from tests.cli.running import output, output_json
from tests.conftest import ROOT
from tests.forms.torch_writer import write_zip

pytest.importorskip("huggingface_hub", reason="needs the hub extra")

UNWANTED = {
    "pytorch_model.bin": b"\x80\x04 never",
    "modeling.py": b"raise SystemExit",
    "training_args.bin": b"\x80\x04 never",
}


@dataclass(frozen=True)
class Shell:
    """Runs gpt2edge with a Hub's cache and a store of its own."""

    home: Path
    endpoint: str

    def run(self, *args: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        own = {
            "HF_HOME": str(self.home / "hub"),
            "HF_ENDPOINT": self.endpoint,
            "GPT2EDGE_STORE": str(self.store),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        command = [sys.executable, "-m", "gpt2edge", *args]
        environment = {**kept, **own, **environment}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    @property
    def store(self) -> Path:
        return self.home / "store"

    def error(self, *args: str, **environment: str) -> str:
        """The last line on stderr of a run that fails; nothing is left in the store."""
        done = self.run(*args, **environment)
        assert done.returncode == 1, done.stderr
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert not list(self.store.glob("*/*"))
        return done.stderr.splitlines()[-1]


@pytest.fixture
def repository(tiny_checkpoint: Path) -> Repository:
    files = {path.name: path.read_bytes() for path in sorted(tiny_checkpoint.iterdir())}
    return Repository({**files, **UNWANTED})


@pytest.fixture
def shell(repository: Repository, tmp_path: Path) -> Iterator[Shell]:
    with serve(repository) as endpoint:
        yield Shell(tmp_path, endpoint)


def test_pull_then_generate_by_name(
    repository: Repository, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT2EDGE_STORE", str(shell.store))
    done = shell.run("pull", NAME)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr.startswith(f"{NAME}:fp32: ")
    assert not repository.fetched() & set(UNWANTED)
    model = ModelDir.open(NAME)
    assert model.path == shell.store / "someone--tiny" / "fp32"
    assert model.manifest.source == f"{NAME}@{COMMIT}"
    assert output("generate", "-m", NAME, "-n", 5, "hello") != ""
    repository.requests.clear()
    done = shell.run("pull", NAME, "--recipe", "int8", HF_HUB_OFFLINE="1")  # from the cache
    assert done.returncode == 0, done.stderr
    assert repository.requests == []
    names = [row["name"] for row in output_json("models", "list")["models"]]
    assert names == [f"{NAME}:fp32", f"{NAME}:int8"]
    assert ModelDir.open(f"{NAME}:int8").manifest.variant == "int8"


@pytest.mark.slow
def test_float32_does_not_stay_where_it_was_not_asked_for(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT2EDGE_STORE", str(shell.store))
    assert shell.run("pull", NAME, "--recipe", "int4").returncode == 0
    model = ModelDir.open(NAME)
    assert model.path == shell.store / "someone--tiny" / "int4"
    model.graph_path.unlink()
    done = shell.run("pull", NAME, "--recipe", "int4", HF_HUB_OFFLINE="1")  # what is damaged
    assert done.returncode == 0, done.stderr
    assert ModelDir.open(NAME).damaged_files() == []


@pytest.mark.slow
def test_a_cut_download_goes_on_where_it_was(repository: Repository, shell: Shell) -> None:
    large = ROOT / "training" / "models" / "storyteller"  # the client writes 10 MB at a time
    repository.files = {path.name: path.read_bytes() for path in sorted(large.iterdir())}
    repository.cut_after["model.safetensors"] = 11_000_000
    done = shell.run("pull", NAME)
    if done.returncode:  # huggingface_hub before 1.0 goes on at the next call
        assert "cannot fetch" in done.stderr
        done = shell.run("pull", NAME)
    assert done.returncode == 0, done.stderr
    asked = [item for _, path, item in repository.requests if path.endswith("model.safetensors")]
    assert f"bytes={10 << 20}-" in asked


@pytest.mark.slow
def test_wrong_bytes_are_found_and_fetched_anew(repository: Repository, shell: Shell) -> None:
    repository.wrong_bytes.add("model.safetensors")
    last = shell.error("pull", NAME)
    assert last.startswith(f"Error: model.safetensors of {NAME} is damaged: its checksum")
    repository.wrong_bytes.clear()
    assert shell.run("pull", NAME).returncode == 0


@pytest.mark.slow
def test_offline_without_a_cache(shell: Shell) -> None:
    last = shell.error("pull", NAME, HF_HUB_OFFLINE="1")
    assert last.endswith(f"{NAME} is not in the Hub's cache, and HF_HUB_OFFLINE forbids fetching")


@pytest.mark.slow
def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    last = Shell(tmp_path, "http://127.0.0.1:9").error("pull", NAME)
    assert last.startswith(
        f"Error: cannot reach http://127.0.0.1:9, and {NAME} is not in the Hub's"
    )


@pytest.mark.slow
def test_private_and_absent_repositories(repository: Repository, shell: Shell) -> None:
    repository.token = "hf_secret"
    last = shell.error("pull", NAME)
    assert last.startswith(f"Error: no model '{NAME}' at {shell.endpoint} that you may read:")
    assert "HF_TOKEN" in last
    assert shell.run("pull", NAME, HF_TOKEN="hf_secret").returncode == 0


@pytest.mark.slow
def test_an_absent_revision(shell: Shell) -> None:
    last = shell.error("pull", NAME, "--revision", "v9")
    assert last == f"Error: {NAME} has no revision 'v9': give a branch, a tag or a commit"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "has no config.json on the Hub"),
    ],
)
def test_a_repository_that_lacks_a_file(
    repository: Repository, shell: Shell, missing: str, message: str
) -> None:
    del repository.files[missing]
    assert f"Error: {NAME} {message}" in shell.error("pull", NAME)


def as_torch_file(repository: Repository, tmp_path: Path) -> None:
    """Keep the weights as torch would have written them, and no safetensors."""
    from safetensors.numpy import load

    tensors = load(repository.files.pop("model.safetensors"))
    write_zip(tmp_path / "made.bin", tensors)
    repository.files["pytorch_model.bin"] = (tmp_path / "made.bin").read_bytes()


def test_without_safetensors_the_torch_file_is_read(
    repository: Repository, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT2EDGE_STORE", str(shell.store))
    as_torch_file(repository, tmp_path)
    done = shell.run("pull", NAME)
    assert done.returncode == 0, done.stderr
    assert f"{NAME} has no safetensors on the Hub: its PyTorch file is fetched" in done.stderr
    assert not repository.fetched() & {"training_args.bin", "modeling.py"}
    source = ModelDir.open(NAME).manifest.source
    assert source == f"{NAME}@{COMMIT} (Hugging Face PyTorch file)"
    assert output("generate", "-m", NAME, "-n", 5, "hello") != ""
    repository.requests.clear()
    done = shell.run("pull", NAME, HF_HUB_OFFLINE="1")  # what is there is of the same commit
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_torch_file_with_code_is_not_run(repository: Repository, shell: Shell) -> None:
    del repository.files["model.safetensors"]
    call = b"\x80\x02cos\nsystem\nX\x0c\0\0\0touch PWNED..\x85R."
    repository.files["pytorch_model.bin"] = call
    assert "holds code (os.system)" in shell.error("pull", NAME)


@pytest.mark.slow
def test_a_repository_without_weights(repository: Repository, shell: Shell) -> None:
    del repository.files["model.safetensors"], repository.files["pytorch_model.bin"]
    last = shell.error("pull", NAME)
    assert f"{NAME} has neither model.safetensors nor pytorch_model.bin on the Hub" in last
