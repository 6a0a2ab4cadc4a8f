"""Storage that refuses: each kind is told from the others and from damaged files, and nothing finished is lost."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.torch import save_file
from torch import ones
from verbs import FULL, ROOT, gwm

from gwm_sim.commands.export import ExportConfig, export_episodes
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, parts_folder, resumable
from gwm_sim.data.hdf5 import new_file, open_file
from gwm_sim.data.reading.checks import reading
from gwm_sim.errors import ConfigError, DataError, StorageError
from gwm_sim.files import exclusive, keeping, replacing, write_text
from gwm_sim.model.world_model import WorldModel
from gwm_sim.storage import reason, trouble


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process become larger than `size` [bytes], which any user may ask for."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- what is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a.hdf5"), "a.hdf5: permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "b.json.tmp"), "b.json: no space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (RuntimeError("Can't close file (filename = 'c.h5', errno = 28, error message = '...')"), "c.h5: no space"),
        (OSError("[Errno 28] Error writing bytes. Detail: [errno 28] No space left on device"), FULL),
        (OSError(errno.EAGAIN, "unable to lock file, errno = 11"), "another process"),
    ],
)
def test_each_refusal_has_its_words(error: Exception, expected: str) -> None:
    assert expected in str(trouble(error))


@pytest.mark.parametrize(
    "error",
    [
        OSError("truncated file: eof = 96"),
        RuntimeError("no"),
        OSError(errno.EPIPE, ""),
        OSError(errno.EPERM, "Operation not permitted"),  # what decoders call a damaged picture
        OSError(errno.EPERM, "Operation not permitted", "avcodec_send_packet()"),
        RuntimeError("it failed: Traceback\nFileExistsError: [Errno 17] File exists\nwhich led to\nTypeError: no"),
    ],
)
def test_other_errors_are_no_trouble_of_the_storage(error: Exception) -> None:
    assert reason(error) is None and trouble(error) is None


def test_an_error_that_is_not_of_the_system_keeps_its_words(tmp_path: Path) -> None:
    for words in ("inflate() failed", "cannot write: errno = 28, error message = 'No space left on device'"):
        with pytest.raises(OSError) as caught, replacing(tmp_path / "a"):
            raise OSError(words)
        assert str(caught.value) == words
    assert FULL in str(trouble(caught.value))


def test_weights_tell_what_the_disk_refused(tmp_path: Path) -> None:
    with files_of_at_most(1000), pytest.raises(Exception) as caught:
        save_file({"x": ones(1000)}, tmp_path / "x.safetensors")
    assert "larger" in str(reason(caught.value))


def test_only_what_is_truncated_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(1000)
    (tmp_path / "cut.hdf5").write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match="truncated"):
        open_file(tmp_path / "cut.hdf5")
    with pytest.raises(DataError, match="no such file"):
        open_file(tmp_path / "none.hdf5")
    with pytest.raises(DataError, match="folder"):
        open_file(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(DataError, match="too many files are open"):
            open_file(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Unable to open file")

    monkeypatch.setattr(h5py, "File", refuse)  # the tests may run as root, who may do anything
    with pytest.raises(DataError, match="permission denied"):
        open_file(path)
    with pytest.raises(DataError, match="permission denied"), reading(path):
        refuse()


def test_a_file_that_another_process_writes_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    program = "import h5py, sys; f = h5py.File(sys.argv[1], 'w'); f['x'] = 1; print('open', flush=True); input()"
    writer = subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert writer.stdout is not None and writer.stdout.readline() == "open\n"
    with pytest.raises(DataError, match="another process has it open"):
        EpisodeFile(path)
    writer.communicate("\n")
    with pytest.raises(DataError, match="no /data group"):
        EpisodeFile(path)


# --- storage without locks --------------------------------------------------------------------------------------------


@pytest.fixture
def lockless(tmp_path: Path) -> str:
    """A library that takes the locks away, for LD_PRELOAD."""
    source, library = tmp_path / "nolock.c", tmp_path / "nolock.so"
    source.write_text(
        "#include <errno.h>\nint flock(int fd, int op) { errno = ENOLCK; return -1; }\n", encoding="utf-8"
    )
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return str(library)


def test_commands_work_where_there_are_no_locks(lockless: str, tiny_data: Path, tmp_path: Path) -> None:
    recording, out = tmp_path / "robomimic.hdf5", tmp_path / "episodes.hdf5"
    export_episodes(ExportConfig("robomimic", tiny_data, recording, limit=2))
    done = gwm("import", "robomimic", recording, "--out", out, LD_PRELOAD=lockless)
    assert done.returncode == 0, done.stderr
    assert "no file locks" in done.stderr
    with EpisodeFile(out) as file:
        assert len(file) == 2
    assert gwm("inspect", out, LD_PRELOAD=lockless).returncode == 0
    program = "import gymnasium as gym; gym.make('gwm_sim:GWM-BlockReach-v0').reset(seed=0)"
    world = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT), "LD_PRELOAD": lockless},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert world.returncode == 0, world.stderr


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_work_without_locks_goes_on_with_a_note(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr("gwm_sim.files.fcntl.flock", flock)
    with exclusive(tmp_path / "lock", "the run"):
        pass
    assert "the run has no file locks" in capsys.readouterr().err


def test_a_lock_that_is_taken_is_no_missing_lock(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", "the run"), pytest.raises(ConfigError, match="another process"):
        with exclusive(tmp_path / "lock", "the run"):
            pass


# --- a disk that is full ----------------------------------------------------------------------------------------------


def test_what_hdf5_could_not_write_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with files_of_at_most(50_000):
        for _ in range(2):  # the library is as it was
            with pytest.raises(OSError, match="too large|large") as caught, new_file(path) as file:
                for k in range(20):
                    group = file.create_group(f"g{k}")
                    group.create_dataset("x", data=np.random.default_rng(k).integers(256, size=10_000))
                    group.attrs["note"] = "y" * 1000
            assert caught.value.errno == errno.EFBIG and caught.value.filename == str(path)
    with new_file(path) as file:
        file["x"] = np.arange(3)
        file.check()
    with h5py.File(path) as file:
        assert file["x"][:].tolist() == [0, 1, 2]


def test_a_mistake_of_ours_stays_one(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="ours"), new_file(tmp_path / "a.hdf5"):
        raise KeyError("ours")


def test_an_old_file_stays_whole_when_the_new_one_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_text(path, "old")
    with files_of_at_most(1000), pytest.raises(OSError, match="report.json"):
        write_text(path, "new" * 1000)
    assert path.read_text(encoding="utf-8") == "old" and list(tmp_path.iterdir()) == [path]


def test_episodes_before_a_full_disk_are_kept_and_the_rest_follows(tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "episodes.hdf5"
    with EpisodeFile(tiny_data) as file:
        episodes = [file.read(k) for k in range(4)]
        schema = file.schema
    writer = EpisodeWriter(out, schema)
    with pytest.raises(StorageError, match=r"2.hdf5.*larger.*Finished episodes are kept in .*parts") as caught:
        with writer.finishing():
            for k, episode in enumerate(episodes):
                with files_of_at_most(3_000 if k == 2 else 10**9):
                    writer.write(k, episode)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in parts_folder(out).glob("0*")) == ["000000.hdf5", "000001.hdf5"]
    with pytest.raises(StorageError, match="episodes.hdf5.*kept"):
        with writer.finishing():
            for k in (2, 3):
                writer.write(k, episodes[k])
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert not out.exists() and len(list(parts_folder(out).glob("0*.hdf5"))) == 4
    again = EpisodeWriter(out, schema)
    with again.finishing():
        assert all(map(again.has, range(4)))
    with EpisodeFile(out) as file:
        assert [len(episode) for episode in file] == [12] * 4


def test_nothing_is_called_kept_that_is_not_there(tmp_path: Path) -> None:
    parts = parts_folder(tmp_path / "a.hdf5")
    for files, told in (((), ""), (("lock",), ""), (("000000.hdf5",), f"kept in {parts}")):
        for name in files:
            write_text(parts / name, "")
        for error in (OSError(errno.ENOSPC, "full"), KeyboardInterrupt()):
            with pytest.raises((StorageError, KeyboardInterrupt)) as caught, resumable(tmp_path / "a.hdf5"):
                raise error
            assert ("kept" in str(caught.value)) is bool(told) and told in str(caught.value)


def test_what_is_kept_is_told_once() -> None:
    def kept() -> str:
        return "All is kept."

    with pytest.raises(StorageError) as caught, keeping(kept), keeping(kept):
        raise OSError(errno.ENOSPC, "No space left on device", "x")
    assert str(caught.value).count("All is kept.") == 1
    with pytest.raises(StorageError, match="full. All is kept."), keeping(kept):
        raise StorageError("full.")
    with pytest.raises(DataError, match="^else$"), keeping(kept):
        raise DataError("else")
    with pytest.raises(ZeroDivisionError), keeping(kept):
        raise ZeroDivisionError


def test_a_full_disk_is_one_line(small_disk: Path, tiny_data: Path, tmp_path: Path) -> None:
    """For every kind of file that commands write; the first goes on once there is room."""
    recording = tmp_path / "robomimic.hdf5"
    export_episodes(ExportConfig("robomimic", tiny_data, recording))
    out = small_disk / "episodes.hdf5"
    importing = ("import", "robomimic", recording, "--out", out)
    stopped = gwm(*importing)
    _check_one_line(stopped, "the same command goes on")
    parts = len(list(parts_folder(out).glob("*.hdf5")))
    assert 0 < parts < 50 and sorted(path.name for path in small_disk.iterdir()) == [parts_folder(out).name]
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    finished = gwm(*importing)
    assert finished.returncode == 0 and f"imported {50 - parts} episodes" in finished.stdout
    out.unlink()
    subprocess.run(["mount", "-o", "remount,size=100k", str(small_disk)], check=True)
    for words in (
        ("collect", "--episodes", "9", "--steps", "12", "--rendering", "fast", "--workers", "1", "--out", out),
        ("export", "robomimic", tiny_data, small_disk / "r.hdf5"),
        ("export", "minari", tiny_data, small_disk / "m-v0"),
        ("export", "lerobot", tiny_data, small_disk / "l", "--codec", "h264"),
        ("train", "--data", tiny_data, "--preset", "tiny", "--steps", "20", "--device", "cpu", "--out", small_disk),
    ):
        _check_one_line(gwm(*words), "")
        shutil.rmtree(parts_folder(out), ignore_errors=True)
    left = {path.name for path in small_disk.rglob("*") if path.is_file()}
    assert not [name for name in left if ".tmp" in name or name.startswith(".")]
    (small_disk / "rest").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    _check_one_line(gwm("inspect", tiny_data, "--json", small_disk / "i.json"), "i.json")


@pytest.mark.slow
def test_films_and_trained_models_heed_a_full_disk(small_disk: Path, tiny_data: Path, tiny_checkpoint: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=20k", str(small_disk)], check=True)
    film = ("generate", "--model", tiny_checkpoint, "--seconds", "5", "--out", small_disk / "film.mp4")
    _check_one_line(gwm(*film), "was not written")
    assert list(small_disk.iterdir()) == []
    training: tuple[str | Path, ...] = (
        "train",
        "--data",
        tiny_data,
        "--preset",
        "tiny",
        "--steps",
        "20",
        "--device",
        "cpu",
    )
    training = (*training, "--out", small_disk / "model")
    _check_one_line(gwm(*training), "--resume")
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert gwm(*training, "--resume").returncode == 0
    WorldModel.load(small_disk / "model", "cpu")
    shutil.rmtree(small_disk / "model")
    subprocess.run(["mount", "-o", "remount,size=40k", str(small_disk)], check=True)
    agent = ("rl", "train", "--env", "GWM-BlockReach-v0", "--algo", "sac", "--model", tiny_checkpoint, "--steps", "100")
    for _ in range(2):
        _check_one_line(gwm(*agent, "--eval-minutes", "-1", "--out", small_disk / "agent"), "begins anew")
    assert not list(small_disk.rglob("*.safetensors*"))


def _check_one_line(done: subprocess.CompletedProcess[str], told: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("gwm: ")]
    assert FULL in line and "write elsewhere." in line and told in line and "/." not in line


# --- text -------------------------------------------------------------------------------------------------------------
