"""What people are told to run for an optional package works where they are."""

import json
import subprocess
from collections.abc import Callable
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from gpt2edge import _extras
from gpt2edge._extras import install_command, missing_extras
from tests.conftest import ROOT

REQUIRES = [
    "numpy>=1.26",
    'onnx>=1.21; extra == "export"',
    'safetensors>=0.5; extra == "export"',
    'gpt2edge[export]; extra == "hub"',
    'huggingface-hub>=0.30; python_version > "3" and extra == "hub"',
]


class Installed:
    """A distribution as importlib.metadata shows it."""

    requires = REQUIRES

    def __init__(self, origin: object = None, installer: str | None = "pip\n") -> None:
        self._files = {"INSTALLER": installer}
        self._files["direct_url.json"] = origin if origin is None else json.dumps(origin)
        self.metadata = Message()
        for extra in ("export", "hub"):
            self.metadata["Provides-Extra"] = extra

    def read_text(self, name: str) -> str | None:
        return self._files[name]


Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Pretend that the package came from somewhere."""
    monkeypatch.chdir(tmp_path)

    def pretend(*args: Any) -> None:
        monkeypatch.setattr(metadata, "distributions", lambda name: [Installed(*args)])  # noqa: ARG005

    return pretend


def test_from_an_index_by_its_name(install: Install) -> None:
    install()
    assert install_command("export", "quant") == "pip install 'gpt2edge[export,quant]'"
    install(None, "uv")
    assert install_command("export") == "uv pip install 'gpt2edge[export]'"


def test_from_a_checkout_by_its_folder(install: Install, tmp_path: Path) -> None:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    install({"url": folder.as_uri(), "dir_info": {}})
    assert install_command("hub") == "pip install './a checkout[hub]'"
    install({"url": folder.as_uri(), "dir_info": {"editable": True}})
    assert install_command("hub") == "pip install -e './a checkout[hub]'"
    install({"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    assert install_command("hub") == "pip install -e '.[hub]'"
    install({"url": tmp_path.parent.as_uri(), "dir_info": {}})
    assert install_command("hub") == f"pip install '{tmp_path.parent}[hub]'"


def test_from_a_wheel_by_its_file(install: Install, tmp_path: Path) -> None:
    wheel = tmp_path / "dist" / "gpt2edge-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    install({"url": wheel.as_uri(), "archive_info": {}})
    assert install_command("export") == f"pip install '{wheel}[export]'"


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"url": "https://a.b/x.whl", "archive_info": {}}, "gpt2edge[hub] @ https://a.b/x.whl"),
        (
            {"url": "https://a.b/x.git", "vcs_info": {"vcs": "git", "commit_id": "1"}},
            "gpt2edge[hub] @ git+https://a.b/x.git",
        ),
    ],
)
def test_from_an_address_by_it(install: Install, origin: object, words: str) -> None:
    install(origin)
    assert install_command("hub") == f"pip install '{words}'"


@pytest.mark.parametrize("origin", [{"url": "file:///gone/x.whl"}, {"url": 1}, [], None])
def test_without_a_source_by_the_packages(install: Install, origin: object) -> None:
    install(origin, None if origin is None else "pip")
    packages = "'onnx>=1.21' 'safetensors>=0.5' 'huggingface-hub>=0.30'"
    assert install_command("hub") == f"pip install {packages}"


def test_windows_has_other_quotes(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    monkeypatch.setattr(_extras, "_WINDOWS", True)
    assert install_command("export") == 'pip install "gpt2edge[export]"'


def test_missing_extras_have_their_command(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "huggingface-hub":
            raise metadata.PackageNotFoundError(name)
        return "1"

    install()
    monkeypatch.setattr(metadata, "version", version)
    assert missing_extras() == {"export": None, "hub": "pip install 'gpt2edge[hub]'"}


def test_nobody_is_sent_to_an_index() -> None:
    """No page, help or message names the package on an index, where it may not be."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md", "*.py", "*.toml", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no checkout")
    own = {"tests/test_extras.py"}
    for name in set(listed.stdout.split()) - own:
        path = ROOT / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            for words in ("pip install gpt2edge", "pip install 'gpt2edge", 'install "gpt2edge'):
                assert words not in text, f"{name}: {words}"


def test_a_checkout_in_front_of_the_installation_is_not_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its ``gpt2edge.egg-info`` says nothing of where the installation came from."""
    found = [Installed(None, None), Installed(None, "pip\n")]
    monkeypatch.setattr(metadata, "distributions", lambda name: found)  # noqa: ARG005
    assert install_command("export") == "pip install 'gpt2edge[export]'"
