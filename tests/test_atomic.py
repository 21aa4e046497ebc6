"""Files and folders that are whole or not there, whatever happens while they are written."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from recgan import atomic
from recgan.atomic import atomic_file, atomic_folder, check_place, one_at_a_time
from recgan.errors import ArtifactError, StorageError

BUILD = """
import sys, time
from pathlib import Path
from recgan.atomic import atomic_file, atomic_folder
with {kind}(Path(sys.argv[1])) as building:
    place = building / "x" if building.is_dir() else building
    place.write_text("half")
    print("building", flush=True)
    time.sleep(60)
"""


def start_building(kind, target):
    """Start a process that is in the midst of writing ``target``."""
    builder = subprocess.Popen([sys.executable, "-c", BUILD.format(kind=kind), target], stdout=subprocess.PIPE)
    assert builder.stdout.readline() == b"building\n"
    return builder


def end(builder):
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    builder.stdout.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_folder(target, text="whole", **options):
    with atomic_folder(target, **options) as folder:
        (folder / "x").write_text(text)
        (folder / "manifest.json").write_text("{}")  # what tells a folder of ours from somebody's own


def write_file(target):
    with atomic_file(target) as path:
        path.write_text("whole")


@pytest.mark.parametrize(("kind", "write"), [("atomic_folder", write_folder), ("atomic_file", write_file)])
def test_what_a_killed_process_left_goes_with_the_next_writer_and_not_what_one_alive_builds(tmp_path, kind, write):
    builder = start_building(kind, tmp_path / "a")
    try:
        (tmp_path / ".a.building-by-hand").mkdir()  # as an older version leaves it
        write(tmp_path / "a")
        left = names(tmp_path)
        assert len(left) == 2, "the one that is alive keeps what it builds"
        assert left[0].startswith(".a.building-")
        assert left[1] == "a"
        write(tmp_path / "b")
    finally:
        end(builder)
    assert len(names(tmp_path)) == 3, "a killed process can remove nothing"
    write(tmp_path / "b2")
    assert len(names(tmp_path)) == 4, "another name is not touched"
    write_file(tmp_path / "a") if kind == "atomic_file" else write_folder(tmp_path / "a", overwrite=True)
    assert names(tmp_path) == ["a", "b", "b2"]


def test_a_writer_whose_new_folder_is_swept_away_at_once_makes_another(tmp_path, monkeypatch):
    made = []

    def unlucky(path, mode=0o777):
        mkdir(path, mode)
        made.append(path)
        if len(made) == 1:
            os.rmdir(path)  # another writer's sweep

    mkdir = os.mkdir
    monkeypatch.setattr(os, "mkdir", unlucky)
    write_folder(tmp_path / "a")
    assert len(made) == 2
    assert (tmp_path / "a" / "x").read_text() == "whole"


def test_killed_between_the_two_renames_nothing_is_lost(tmp_path):
    write_folder(tmp_path / "a", "old")
    os.rename(tmp_path / "a", tmp_path / ".a.replaced-0123")
    with pytest.raises(ArtifactError, match="exists already"), atomic_folder(tmp_path / "a"):
        raise AssertionError("nothing may be written")
    assert (tmp_path / "a" / "x").read_text() == "old"
    write_folder(tmp_path / ".a.replaced-4567", "older")
    write_folder(tmp_path / "a", "new", overwrite=True)
    assert (tmp_path / "a" / "x").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_an_error_of_reading_is_not_called_one_of_writing(tmp_path):
    for target, writer in ((tmp_path / "a", atomic_folder), (tmp_path / "b", atomic_file)):
        with pytest.raises(FileNotFoundError, match="input"), writer(target):
            (tmp_path / "input.csv").read_text()
        with (
            pytest.raises(StorageError, match=r"cannot write '.*': No such file.*; check the place"),
            writer(target) as building,
        ):
            (building / "no" / "such").write_text("x") if building.is_dir() else building.rename(tmp_path / "no" / "x")
        with pytest.raises(StorageError, match=r"free some space or choose another --out. Nothing was"), writer(target):
            raise OSError(errno.ENOSPC, "No space left on device")  # as a write says it: of no name
    assert names(tmp_path) == []


@pytest.mark.parametrize("target", ["/", ".", ".."])
def test_a_place_without_a_name_is_refused(target):
    with pytest.raises(ArtifactError, match="is no name for something new; choose another --out"):
        check_place(target, overwrite=True)


def test_a_place_is_checked_without_leaving_anything(tmp_path):
    check_place(tmp_path / "deep" / "a")
    assert names(tmp_path / "deep") == []
    (tmp_path / "file").touch()
    for place in ("file/a", "file/deep/a"):
        with pytest.raises(StorageError, match=rf"{place}': '.*/file' is a file, not a folder; choose another --out\."):
            check_place(tmp_path / place)
    with pytest.raises(ArtifactError, match="exists already"):
        check_place(tmp_path / "file")
    check_place(tmp_path / "file", overwrite=True, file=True)
    check_place(tmp_path / "deep", overwrite=True)
    with pytest.raises(ArtifactError, match="is a folder; give the name of a file with --out"):
        check_place(tmp_path / "deep", overwrite=True, file=True)


def test_a_file_in_the_way_is_never_replaced_by_a_folder(tmp_path):
    (tmp_path / "a").write_text("mine")
    told = r"'.*/a' is a file, and a folder is to be written; choose another --out"
    with pytest.raises(ArtifactError, match=told):
        write_folder(tmp_path / "a", overwrite=True)
    with pytest.raises(ArtifactError, match=told):
        check_place(tmp_path / "a", overwrite=True)
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "mine"


def test_an_atomic_folder_by_itself(tmp_path):
    with atomic_folder(tmp_path / "new" / "deep") as folder:
        (folder / "x").write_text("1")
        assert folder.parent == tmp_path / "new"
        assert not (tmp_path / "new" / "deep").exists()
    assert (tmp_path / "new" / "deep" / "x").read_text() == "1"
    assert (tmp_path / "new" / "deep").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["deep"]


def test_a_name_that_is_too_long_is_told_in_one_line(tmp_path):
    with pytest.raises(StorageError, match=r"cannot write .*File name too long"), atomic_folder(tmp_path / ("x" * 300)):
        raise AssertionError("nothing may be written")


def test_another_user_may_read_what_the_umask_allows(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_UMASK", 0o027)
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "notes").mkdir(mode=0o700)
        for name in ("x", "notes/y"):
            (folder / name).touch(mode=0o600)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]}
    assert modes.pop("a") == modes.pop("notes") == "0o750"
    assert modes == {"x": "0o640", "y": "0o640"}


def test_a_hard_linked_file_keeps_its_mode(tmp_path):
    source = tmp_path / "source"
    source.write_text("another folder's")
    source.chmod(0o400)
    with atomic_folder(tmp_path / "a") as folder:
        os.link(source, folder / "linked")
    assert source.stat().st_mode & 0o777 == 0o400


def test_what_somebody_else_has_written_is_never_replaced(tmp_path):
    (tmp_path / "mine" / "photos").mkdir(parents=True)
    (tmp_path / "mine" / "photos" / "1.jpg").write_text("precious")
    for refused in (check_place, write_folder):
        with pytest.raises(ArtifactError, match="recgan has not written; choose another --out"):
            refused(tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "photos" / "1.jpg").read_text() == "precious"
    assert names(tmp_path) == ["mine"]
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "empty", overwrite=True)
    write_folder(tmp_path / "empty", "again", overwrite=True)
    assert (tmp_path / "empty" / "x").read_text() == "again"


def test_nothing_but_a_bundle_replaces_a_bundle(tmp_path):
    bundle = tmp_path / "shop"
    bundle.mkdir()
    (bundle / "dataset.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"'.*shop' is a bundle, which nothing but a bundle replaces"):
        check_place(bundle, overwrite=True)
    with pytest.raises(ArtifactError, match="is a bundle"), atomic_folder(bundle, overwrite=True) as building:
        (building / "manifest.json").write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    check_place(bundle, overwrite=True, bundle=True)
    with atomic_folder(bundle, overwrite=True) as building:
        (building / "dataset.json").write_text('{"new": 1}')
    assert (bundle / "dataset.json").read_text() == '{"new": 1}'


HOLD = """
import sys, time
from recgan.atomic import one_at_a_time
with one_at_a_time(sys.argv[1]):
    print("building", flush=True)
    time.sleep(60)
"""


def test_a_place_is_held_by_one_process_and_free_when_that_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "a"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"building\n"
        with (
            pytest.raises(ArtifactError, match=r"another process is at work on '.*/a'; wait"),
            one_at_a_time(tmp_path / "a"),
        ):
            pass
        with one_at_a_time(tmp_path / "b"):
            assert names(tmp_path) == [".a.lock", ".b.lock"]
    finally:
        end(holder)
    with one_at_a_time(tmp_path / "a"), pytest.raises(ArtifactError, match="at work"), one_at_a_time(tmp_path / "a"):
        pass
    assert names(tmp_path) == []
