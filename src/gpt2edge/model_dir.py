"""ModelDir: the folder on disk that export, quant and runtime exchange.

model.onnx  model.onnx_data      the graph, and its weights as external data
config.json                      upstream keys, copied from the checkpoint
tokenizer.json                   absent where the checkpoint had no tokenizer
generation_config.json           default sampling, absent where upstream had none
manifest.json                    how the folder was made, and the size and sha256 of every file
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from gpt2edge._beside import BackgroundCall
from gpt2edge._checks import MODEL, check_bool, check_path
from gpt2edge._files import umask
from gpt2edge._optimum import OPTIMUM, check_not_legacy
from gpt2edge._text import text_of
from gpt2edge.checksums import find_damaged, not_yet_verified, sha256
from gpt2edge.config import ModelConfig
from gpt2edge.errors import Argument, ModelDamagedError, ModelDirError, UnsupportedError

FORMAT_VERSION: Final = 1
_PARTIAL: Final = ".partial"
_LEFTOVER_SECONDS: Final = 86_400
GRAPH_FILE: Final = "model.onnx"
WEIGHTS_FILE: Final = "model.onnx_data"
LARGEST_JSON: Final = 1 << 26
"""Bytes of a configuration or manifest; a folder's tokenizer may be larger."""
TASKS: Final = ("text-generation", "sequence-classification", "token-classification")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Size in bytes and sha256 (hex, empty where unknown) of one file of a model folder."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The origin of a model folder: ``variant`` is its precision, ``recipe`` its quantization."""

    profile: str
    variant: str
    task: str
    opset: int
    ir_version: int
    source: str = ""
    recipe: Mapping[str, Any] | None = None
    tool_versions: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @classmethod
    def from_dict(cls, keys: Mapping[str, Any]) -> "Manifest":
        """Read ``manifest.json``. Raises ValueError for another format version or a bad key."""
        version = keys.get("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(f"format_version is {version!r}; this gpt2edge reads {FORMAT_VERSION}")
        if keys.get("task") not in TASKS:
            raise ValueError(f"task is {keys.get('task')!r}; it must be one of {', '.join(TASKS)}")
        try:
            files = {name: FileRecord(**record) for name, record in keys["files"].items()}
            manifest = cls(**{**keys, "files": files})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"manifest.json is not of this format: {error}") from None
        manifest._check_kinds()
        return manifest

    @property
    def recipe_name(self) -> str:
        """Return the recipe's name, with a mention of an int8 cache; ``fp32`` without a recipe."""
        recipe = self.recipe or {}
        cache = " with an int8 cache" if recipe.get("kv_cache") == "int8" else ""
        return f"{recipe.get('name', self.variant)}{cache}"

    def _check_kinds(self) -> None:
        kinds: dict[str, type] = {"profile": str, "variant": str, "source": str}
        kinds |= {"tool_versions": Mapping} | ({} if self.recipe is None else {"recipe": Mapping})
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                wanted = "a text" if kind is str else "an object"
                raise ValueError(
                    f"manifest.json: {name} is {str(value)[:40]!r}; it must be {wanted}"
                )


@dataclass(frozen=True, slots=True)
class ModelDir:
    """An opened model folder: its path, configuration and manifest."""

    path: Path
    config: ModelConfig
    manifest: Manifest

    def __repr__(self) -> str:
        manifest = self.manifest
        return (
            f"ModelDir({str(self.path)!r}, task={manifest.task!r}, "
            f"recipe={manifest.recipe_name!r}, nbytes={self.nbytes})"
        )

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "ModelDir":
        """Open a folder that ``export`` or ``quantize`` wrote, and check every file's size.

        ``path`` may also be the name of a model in the store (``gpt2edge.store``). A folder
        exported by Optimum is opened too, without checksums. Raises ModelNotFoundError if there is
        no such folder, ModelDamagedError if a file that its manifest names is missing or of another
        size, ModelDirError if it is no model folder.
        """
        check_path("path", path, MODEL)
        folder = Path(path)
        if folder.is_file():
            raise ModelDirError(f"{str(folder)!r} is a file: give the model folder that holds it")
        if not folder.is_dir():
            from gpt2edge.store import find_model

            folder = find_model(folder.as_posix()).path
        try:
            manifest = _read_manifest(folder)
            config = ModelConfig.from_dict(read_json(folder / "config.json"))
        except ValueError as error:
            raise ModelDirError(f"{folder}: {error}") from None
        model = cls(folder, config, manifest)
        model._check_files()
        return model

    @property
    def graph_path(self) -> Path:
        """Return the path of the ONNX graph."""
        return self.path / GRAPH_FILE

    @property
    def tokenizer_path(self) -> Path | None:
        """Return the path of ``tokenizer.json``, or None for a model used by token ids."""
        path = self.path / "tokenizer.json"
        return path if path.is_file() else None

    @property
    def generation_config(self) -> dict[str, Any]:
        """Return the default generation settings, under transformers' names; may be empty."""
        path = self.path / "generation_config.json"
        return read_json(path) if path.is_file() else {}

    @property
    def nbytes(self) -> int:
        """Return the bytes of all files that the manifest names."""
        return sum(record.bytes for record in self.manifest.files.values())

    def require_language_model(self) -> None:
        """Raise UnsupportedError unless the logits of this model are those of tokens."""
        task = self.manifest.task
        if task != "text-generation":
            raise UnsupportedError(
                f"{str(self.path)!r} is a model for {task}: it has no vocabulary to generate from, "
                "to score or to compare; in Python, Engine.logits reads its head"
            )

    def damaged_files(self) -> list[str]:
        """Return the names of the files whose sha256 differs from the manifest's.

        Every file with a checksum is hashed, even if it was verified before.
        """
        return [path.name for path in find_damaged(self._checksums())]

    @contextmanager
    def verified(self) -> Iterator[None]:
        """Compare every file's sha256 with the manifest's, in a thread while the block runs.

        Files verified by an earlier start, and unchanged since, are not hashed again
        (``gpt2edge.checksums``). Raises ModelDirError at the end of the block, or in place of its
        error, if a file is damaged.
        """
        wanted = not_yet_verified(self._checksums())
        if not wanted:
            yield
            return
        # Imported here, not in the thread: there an import could wait forever for a lock that an
        # import interrupted by Ctrl-C still holds.
        import hashlib  # noqa: F401
        import mmap  # noqa: F401

        check = BackgroundCall(partial(find_damaged, wanted))
        try:
            yield
        finally:
            damaged = check.result()
            if damaged:
                raise ModelDamagedError(
                    f"{damaged[0]} is damaged: its sha256 is not the one in manifest.json; make "
                    "the folder again"
                ) from None

    def _checksums(self) -> dict[Path, str]:
        files = self.manifest.files.items()
        return {self.path / name: record.sha256 for name, record in files if record.sha256 != ""}

    def _check_files(self) -> None:
        homes = _homes(self.path)
        for name, record in self.manifest.files.items():
            if Path(name).name != name or name == ".." or "\\" in name or "\0" in name:
                raise ModelDirError(f"{self.path}: manifest.json names {name!r}, not a plain file")
            path = self.path / name
            if path.is_symlink() and path.resolve().parent not in homes:
                raise ModelDirError(
                    f"{path} is a link that leads out of the folder: put a copy in its place"
                )
            size = path.stat().st_size if path.is_file() else None
            if size != record.bytes:
                state = "is missing" if size is None else f"has {size} bytes"
                raise ModelDamagedError(
                    f"{path} {state}; manifest.json says {record.bytes} bytes: export it again"
                )


@contextmanager
def staged_folder(out: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Make a temporary folder that becomes ``out`` when the block ends without an error.

    Only a model folder that holds nothing else is ever replaced. Raises ModelDirError if ``out``
    exists and ``overwrite`` is false, holds other files, or cannot be written; it is then
    unchanged.
    """
    import shutil  # both are slow to load, and reading a folder needs neither
    from tempfile import mkdtemp

    check_path("out", out)
    check_bool("overwrite", overwrite)
    target = Path(out).absolute()
    _check_target(target, overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        staging = Path(mkdtemp(prefix=_staging_prefix(target), suffix=_PARTIAL, dir=target.parent))
    except OSError as error:
        raise ModelDirError(f"cannot write {str(target)!r}: {error.strerror}") from None
    try:
        yield staging
        staging.chmod(0o777 & ~umask())
        _check_target(target, overwrite)
        if overwrite and target.exists():
            _exchange(staging, target)
        else:
            staging.rename(target)
    except OSError as error:
        raise ModelDirError(f"cannot write {str(target)!r}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, with the size and sha256 of every file now in ``folder``."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "manifest.json")
    files = {
        name: asdict(FileRecord(bytes=path.stat().st_size, sha256=sha256(path)))
        for name in names
        for path in [folder / name]
    }
    write_json(folder / "manifest.json", {**asdict(manifest), "files": files})


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file. Raises ModelDirError if it is absent or not an object."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device may never end
            raise ModelDirError(f"{path} is not a regular file")
        if path.is_file() and path.stat().st_size > LARGEST_JSON:
            raise ModelDirError(f"{path} is larger than {LARGEST_JSON:,} bytes")
        value = json.loads(text_of(path.read_bytes(), "it"))
    except OSError as error:
        raise ModelDirError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelDirError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelDirError(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, indented, keys in the order given."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _exchange(staging: Path, target: Path) -> None:
    """Replace the model folder ``target`` by ``staging``; on an error, restore ``target``."""
    import shutil

    retired = staging.with_name(staging.name + ".old")
    target.rename(retired)
    try:
        staging.rename(target)
    except OSError:
        retired.rename(target)
        raise
    shutil.rmtree(retired)


def _homes(folder: Path) -> set[Path]:
    """Return the folders that files of ``folder`` may be in after resolving links.

    These are the folder itself and, for a snapshot in a Hub cache, which links every file, the
    cache's blobs.
    """
    real = folder.resolve()
    homes = {real}
    if real.parent.name == "snapshots":
        homes.add(real.parent.parent / "blobs")
    return homes


def _staging_prefix(target: Path) -> str:
    return f".{target.name[:50]}."  # file names are limited in bytes, up to 4 per character


def _remove_leftovers(target: Path) -> None:
    """Remove folders that a killed process staged for ``target`` more than a day ago."""
    import glob
    import shutil

    for path in target.parent.glob(f"{glob.escape(_staging_prefix(target))}*{_PARTIAL}"):
        if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _check_target(target: Path, overwrite: bool) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ModelDirError(f"{str(target)!r} exists and is not a folder: choose another name")
    if not target.exists():
        return
    if not overwrite:
        raise ModelDirError(
            f"{str(target)!r} exists: choose another name, or pass ",
            Argument("overwrite", True),
            " to replace it",
        )
    names = {path.name for path in target.iterdir()}
    try:
        manifest = Manifest.from_dict(read_json(target / "manifest.json")) if names else None
    except (ModelDirError, ValueError):
        raise ModelDirError(
            f"{str(target)!r} is not a model folder and will not be replaced: choose another name"
        ) from None
    strangers = sorted(names - {"manifest.json", *(manifest.files if manifest else ())})
    if strangers:
        raise ModelDirError(
            f"{str(target)!r} also holds {strangers[0]!r}, which is not part of the model: move it "
            "away, or choose another name"
        )


def _read_manifest(folder: Path) -> Manifest:
    """Read the folder's manifest; make one for a folder exported by Optimum."""
    if os.path.lexists(folder / "manifest.json"):
        return Manifest.from_dict(read_json(folder / "manifest.json"))
    check_not_legacy(folder)
    if not (folder / GRAPH_FILE).is_file() or not (folder / "config.json").is_file():
        raise ModelDirError(_not_a_model_dir(folder))
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    version = read_json(folder / "config.json").get("transformers_version")
    return Manifest(
        profile=OPTIMUM,
        variant="fp32",
        task="text-generation",
        opset=0,
        ir_version=0,
        source=folder.resolve().name,
        tool_versions={"transformers": str(version)} if version else {},
        files={path.name: FileRecord(bytes=path.stat().st_size, sha256="") for path in files},
    )


def _not_a_model_dir(folder: Path) -> str:
    if (folder / "config.json").is_file():
        return (
            f"{str(folder)!r} holds a checkpoint, not an exported model: "
            f"run 'gpt2edge export {folder} OUT' first"
        )
    return f"{str(folder)!r} has no manifest.json: it was not written by gpt2edge"
