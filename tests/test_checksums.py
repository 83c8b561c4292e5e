"""What was compared and has not changed is not hashed again; whatever changed is."""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from gpt2edge import checksums
from gpt2edge.errors import ModelDirError
from gpt2edge.model_dir import Manifest, ModelDir, staged_folder, write_json, write_manifest
from tests.cli.running import output

MANIFEST = Manifest(profile="cpu", variant="fp32", task="text-generation", opset=17, ir_version=8)
SETTLED_NS = 10**10
real_ns = time.time_ns
real_sha256 = checksums.sha256


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test keeps what was found; files count as settled at once."""
    monkeypatch.setenv("GPT2EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checksums, "time_ns", lambda: real_ns() + SETTLED_NS)
    return tmp_path / "cache" / "verified.json"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were hashed."""
    names: list[str] = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return real_sha256(path)

    monkeypatch.setattr(checksums, "sha256", noted)
    return names


@pytest.fixture
def folder(tmp_path: Path, record: Path) -> Path:
    """A model folder that an earlier start has compared."""
    with staged_folder(tmp_path / "model") as made:
        write_json(made / "config.json", {"model_type": "gpt2"})
        (made / "a.txt").write_text("old")
        (made / "link.txt").symlink_to("a.txt")
        (made / "b.txt").write_text("new")
        write_manifest(made, MANIFEST)
    start(tmp_path / "model")
    assert record.is_file()
    newest, clock = (tmp_path / "model" / "b.txt").stat().st_ctime_ns, tmp_path / "clock"
    clock.touch()
    while clock.stat().st_ctime_ns <= newest:  # a tick of the file system's
        clock.touch()
    return tmp_path / "model"


def start(folder: Path) -> None:
    """What a start does with the files."""
    with ModelDir.open(folder).verified():
        pass


def test_only_a_check_hashes_what_an_earlier_start_compared(
    folder: Path, hashed: list[str]
) -> None:
    start(folder)
    assert hashed == []
    assert ModelDir.open(folder).damaged_files() == []
    assert set(hashed) == {"config.json", "a.txt", "b.txt", "link.txt"}


def in_place(path: Path) -> None:
    path.write_text("bad")


def with_its_old_time(path: Path) -> None:
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text("bad")
    os.utime(path, ns=times)


def renamed_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("bad")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)


def moved_link(path: Path) -> None:
    link = path.with_name("link.txt")
    link.unlink()
    link.symlink_to("b.txt")


def other_manifest(path: Path) -> None:
    keys = json.loads(path.with_name("manifest.json").read_text())
    keys["files"]["a.txt"]["sha256"] = sha256(b"bad").hexdigest()
    write_json(path.with_name("manifest.json"), keys)


@pytest.mark.parametrize(
    "change", [in_place, with_its_old_time, renamed_over, moved_link, other_manifest]
)
def test_a_change_is_found(change: Callable[[Path], None], folder: Path, record: Path) -> None:
    before = record.read_bytes()
    change(folder / "a.txt")
    for _ in range(2):
        with pytest.raises(ModelDirError, match=r"(a|link)\.txt is damaged: its sha256"):
            start(folder)
    assert record.read_bytes() != before


def test_only_what_changed_is_hashed(folder: Path, hashed: list[str]) -> None:
    (folder / "b.txt").write_text("new")
    start(folder)
    assert hashed == ["b.txt"]
    start(folder)
    assert hashed == ["b.txt"]


@pytest.mark.parametrize("when", ["mtime", "ctime"])
def test_a_file_just_written_is_not_kept(
    when: str, folder: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = (folder / "a.txt").stat()
    ahead = SETTLED_NS if when == "mtime" else -SETTLED_NS
    os.utime(folder / "a.txt", ns=(0, stat.st_mtime_ns + ahead))
    changed = (folder / "a.txt").stat()
    newest = max(changed.st_mtime_ns, changed.st_ctime_ns)
    for age, again in ((2 * 10**9, True), (2 * 10**9 + 1, True), (3 * 10**9, False)):
        monkeypatch.setattr(checksums, "time_ns", lambda age=age: newest + age)
        hashed.clear()
        start(folder)
        assert ("a.txt" in hashed) is again, age  # only the second keeps what it found


def test_a_file_written_while_it_is_hashed_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "b.txt").write_text("new")

    def meanwhile(path: Path) -> str:
        found, before = real_sha256(path), path.stat().st_ctime_ns
        while path.stat().st_ctime_ns == before:  # the file system's clock has ticks
            path.write_text("bad")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(checksums, "sha256", meanwhile)
        start(folder)
    with pytest.raises(ModelDirError, match=r"b\.txt is damaged"):
        start(folder)


def test_a_check_that_finds_damage_has_the_next_start_find_it(folder: Path, record: Path) -> None:
    (folder / "a.txt").write_text("bad")
    stat = (folder / "a.txt").stat()  # as if bits had changed on the disk
    facts = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
    kept = json.loads(record.read_text())
    kept[os.path.realpath(folder / "a.txt")][:5] = facts
    record.write_text(json.dumps(kept))
    start(folder)
    assert ModelDir.open(folder).damaged_files() == ["a.txt", "link.txt"]
    with pytest.raises(ModelDirError, match=r"a\.txt is damaged"):
        start(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b'{"a":',
        b"[1, 2]",
        b"[" * 200_000,
        b'{"a": ' * 100_000,
        b'{"a": %s}' % (b"9" * 10_000),
        b'{"a": "' + b"x" * (1 << 21) + b'"}',
    ],
    ids=lambda content: repr(content[:8]),
)
def test_a_damaged_record_is_as_none(
    content: bytes, folder: Path, record: Path, hashed: list[str]
) -> None:
    record.write_bytes(content)
    start(folder)
    assert len(hashed) == 4
    start(folder)
    assert len(hashed) == 4
    assert len(json.loads(record.read_bytes())) == 3


@pytest.mark.parametrize("kind", [None, 7, "text", {}, [], [1, 2], [[[]]], [True] * 6])
def test_a_record_of_another_kind_says_nothing(
    kind: object, folder: Path, record: Path, hashed: list[str]
) -> None:
    record.write_text(json.dumps(dict.fromkeys(json.loads(record.read_text()), kind)))
    start(folder)
    assert len(hashed) == 4


def a_file(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("not a folder")


def below_a_file(cache: Path) -> None:
    cache.parent.write_text("not a folder")


def no_home(cache: Path) -> None:
    """The test names somebody's who does not exist."""


def a_folder_in_its_place(cache: Path) -> None:
    (cache / "verified.json").mkdir(parents=True)


def a_pipe(cache: Path) -> None:
    cache.mkdir(parents=True)
    getattr(os, "mkfifo", Path.mkdir)(cache / "verified.json")


def read_only(cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o500)


@pytest.mark.parametrize(
    "harm", [a_file, below_a_file, no_home, a_folder_in_its_place, a_pipe, read_only]
)
def test_where_nothing_can_be_kept_all_is_hashed(
    harm: Callable[[Path], None],
    folder: Path,
    tmp_path: Path,
    hashed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    cache = tmp_path / "unusable" / "cache"
    named = "~nobody-of-this-name/cache" if harm is no_home else str(cache)
    monkeypatch.setenv("GPT2EDGE_CACHE", named)
    harm(cache)
    start(folder)
    assert len(hashed) == 4
    in_place(folder / "a.txt")
    with pytest.raises(ModelDirError, match=r"a\.txt is damaged"):
        start(folder)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_leaves_nothing(
    folder: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = record.read_bytes()
    (folder / "b.txt").write_text("new")
    monkeypatch.setattr(Path, "replace", full)
    start(folder)
    assert [path.name for path in record.parent.iterdir()] == ["verified.json"]
    assert record.read_bytes() == before


@pytest.fixture
def files(tmp_path: Path) -> dict[Path, str]:
    """Paths of small files, and their sha256."""
    paths = [tmp_path / f"{number}\u00e9.bin" for number in range(40)]
    for path in paths:
        path.write_text(path.name)
    return {path: real_sha256(path) for path in paths}


@pytest.mark.usefixtures("record")
def test_the_oldest_are_left_out(files: dict[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "_MOST_FILES", 3)
    for path, found in files.items():
        assert checksums.find_damaged({path: found}) == []
    assert set(checksums.not_yet_verified(files)) == set([*files][:-3])


def test_many_at_once(files: dict[Path, str], record: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: checksums.find_damaged(dict([item])), files.items()))
    kept = json.loads(record.read_text())
    assert kept
    assert all(files[Path(name)] == facts[-1] for name, facts in kept.items())
    assert [path.name for path in record.parent.iterdir()] == ["verified.json"]


@pytest.mark.usefixtures("record")
def test_a_command_hashes_once(tiny_model: ModelDir, hashed: list[str]) -> None:
    args = ("generate", "-m", tiny_model.path, "-n", 2, "hello")
    first = output(*args)
    assert set(hashed) == set(tiny_model.manifest.files)
    hashed.clear()
    assert output(*args) == first
    assert hashed == []
    output("inspect", tiny_model.path)
    assert set(hashed) == set(tiny_model.manifest.files)


def test_where_the_record_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPT2EDGE_CACHE", str(tmp_path / "own"))
    assert checksums.cache_dir() == tmp_path / "own"
    monkeypatch.delenv("GPT2EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert checksums.cache_dir() == tmp_path / "gpt2edge"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr("sys.platform", "linux")
    assert checksums.cache_dir() == tmp_path / "home" / ".cache" / "gpt2edge"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert checksums.cache_dir() == tmp_path / "local" / "gpt2edge"
