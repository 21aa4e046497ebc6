"""Artifacts: whole or not there, checked when opened, the same locally and on an object store."""

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from recgan import artifacts
from recgan.artifacts import MANIFEST, check_out, json_digest, open_artifact, sha256_file, write_artifact
from recgan.errors import ArtifactError, SettingsError, StorageError

WEIGHTS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], dtype=np.int64)}


def write(target, *, kind="toy", version=1, weights=WEIGHTS, overwrite=False, name="a toy"):
    with write_artifact(
        target,
        kind=kind,
        format_version=version,
        name=name,
        config={"width": 3},
        parents={"bundle": "abc"},
        overwrite=overwrite,
    ) as writer:
        writer.tensors("weights", weights)
        writer.table("items", pd.DataFrame({"item_id": ["007", "x"], "price": [1.5, 2]}))
        writer.json("notes/deep", {"grüße": [1, None]})
        writer.path("sheet.png").write_bytes(b"png")
        writer.metrics["auc"] = 0.75
        writer.facts["images"] = 12


def open_toy(source, **options):
    return open_artifact(source, "toy", format_version=1, **options)


def assert_whole(artifact):
    manifest = artifact.manifest
    assert (manifest.kind, manifest.format_version, manifest.name) == ("toy", 1, "a toy")
    assert (manifest.config, manifest.parents) == ({"width": 3}, {"bundle": "abc"})
    assert (manifest.metrics, manifest.facts) == ({"auc": 0.75}, {"images": 12})
    assert {"recgan", "torch", "numpy"} <= set(manifest.libraries)
    for key, array in artifact.tensors("weights").items():
        np.testing.assert_array_equal(array, WEIGHTS[key])
        assert array.dtype == WEIGHTS[key].dtype
    assert artifact.table("items")["item_id"].to_list() == ["007", "x"]
    assert artifact.json("notes/deep") == {"grüße": [1, None]}
    assert artifact.path("sheet.png").read_bytes() == b"png"
    assert set(manifest.files) == {"weights.safetensors", "items.parquet", "notes/deep.json", "sheet.png"}


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_what_was_written_is_read_back(tmp_path, prefix):
    write(f"{prefix}{tmp_path / 'runs' / 'a'}")
    artifact = open_toy(f"{prefix}{tmp_path / 'runs' / 'a'}")
    assert_whole(artifact)
    assert artifact.manifest.files["sheet.png"] == sha256_file(tmp_path / "runs" / "a" / "sheet.png")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a"]
    with pytest.raises(ArtifactError, match=r"has no part 'other\.safetensors'; .*make it again"):
        artifact.tensors("other")


def test_arrays_in_any_order_of_memory(tmp_path):
    array = np.arange(12.0).reshape(3, 4)
    write(tmp_path / "a", weights={"transposed": array.T, "sliced": array[:, ::2]})
    tensors = open_toy(tmp_path / "a").tensors("weights")
    np.testing.assert_array_equal(tensors["transposed"], array.T)
    np.testing.assert_array_equal(tensors["sliced"], array[:, ::2])


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the memory's maps are Linux's")
def test_mapped_arrays_lie_in_the_file_and_what_is_written_to_them_does_not(tmp_path):
    weights = {**WEIGHTS, "seen": np.array([True, False]), "none": np.empty((0, 3), dtype=np.float32)}
    write(tmp_path / "a", weights=weights)
    arrays = open_toy(tmp_path / "a").mapped("weights")
    assert arrays.keys() == weights.keys()
    lines = Path("/proc/self/maps").read_text().splitlines()
    maps = [line.split()[0] for line in lines if line.endswith("/a/weights.safetensors")]
    spans = [tuple(int(end, 16) for end in span.split("-")) for span in maps]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, weights[name], strict=True)
        assert not array.size or any(first <= array.ctypes.data < last for first, last in spans)
    arrays["w"][:] = -1  # no other process, and no later reader, sees it
    np.testing.assert_array_equal(open_toy(tmp_path / "a").mapped("weights")["w"], WEIGHTS["w"])


def test_the_digest_is_of_the_contents(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "same")
    write(tmp_path / "other", weights={"w": WEIGHTS["w"] + 1})
    write(tmp_path / "named", name="another")
    a, same, other, named = (open_toy(tmp_path / name).digest for name in ("a", "same", "other", "named"))
    assert a == same
    assert len({a, other, named}) == 3


def test_the_json_digest_does_not_depend_on_order():
    assert json_digest({"b": 1, "a": [1, "é"]}) == json_digest({"a": [1, "é"], "b": 1})
    assert json_digest({"a": 1}) != json_digest({"a": "1"})
    # printf '{"a":[1,"x"]}' | sha256sum
    assert json_digest({"a": [1, "x"]}) == "5e49f471d8b615a8ae0ecf0a53dbe2f5f617abb2dfe6246974aa6e4bdeb89725"


@pytest.mark.parametrize("error", [ValueError("mistake"), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_leaves_nothing(tmp_path, error):
    def fail():
        with write_artifact(
            tmp_path / "in" / "a", kind="toy", format_version=1, name="n", config={}, parents={}
        ) as writer:
            writer.tensors("weights", WEIGHTS)
            assert not (tmp_path / "in" / "a").exists()
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert list((tmp_path / "in").iterdir()) == []


def test_what_is_there_is_replaced_when_asked_and_kept_on_failure(tmp_path, monkeypatch):
    write(tmp_path / "a")
    old = open_toy(tmp_path / "a").digest
    with pytest.raises(ArtifactError, match="exists already; choose another --out or pass --overwrite"):
        write(tmp_path / "a")
    renames = []
    rename = os.rename

    def second_fails(source, target):
        renames.append(source)
        if len(renames) == 2:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(StorageError, match=r"Input/output error.*Nothing was changed"):
        write(tmp_path / "a", weights={"w": WEIGHTS["w"] + 1}, overwrite=True)
    monkeypatch.undo()
    assert len(renames) == 3  # away, the new one that failed, and back
    assert open_toy(tmp_path / "a").digest == old
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    write(tmp_path / "a", weights={"w": WEIGHTS["w"] + 1}, overwrite=True)
    assert open_toy(tmp_path / "a").tensors("weights")["w"][0, 0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (errno.ENOSPC, "free some space or choose another --out"),
        (errno.EACCES, "choose a place you may read and write"),
    ],
)
@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.write_text", "os.mkdir"])
def test_what_the_system_refuses_is_told_and_leaves_nothing(tmp_path, monkeypatch, where, code, mend):
    def refuse(path, *_, **__):
        raise OSError(code, os.strerror(code), None if code == errno.ENOSPC else str(path))  # as the system does

    monkeypatch.setattr(where, refuse)
    with pytest.raises(StorageError, match=f"cannot write .*{os.strerror(code)}; {mend}. Nothing was changed"):
        write(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_that_safetensors_meets_is_told_too(tmp_path, monkeypatch):
    from safetensors import SafetensorError

    def full(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(artifacts, "save_file", full)
    told = r"cannot write 'weights\.safetensors' of '.*/a': .*No space left.*; free some space or choose another --out"
    with pytest.raises(StorageError, match=told):
        write(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_is_found(tmp_path):
    write(tmp_path / "a")
    for name in open_toy(tmp_path / "a").manifest.files:
        path = tmp_path / "a" / name
        data = path.read_bytes()
        for place in (0, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(
                ArtifactError, match=rf"part '{name}' does not match its checksum.*copy the artifact again"
            ):
                open_toy(tmp_path / "a")
        path.write_bytes(data[:-1])
        with pytest.raises(ArtifactError, match="does not match its checksum"):
            open_toy(tmp_path / "a")
        path.unlink()
        with pytest.raises(ArtifactError, match=f"part '{name}' is missing; copy the artifact again or make it anew"):
            open_toy(tmp_path / "a")
        path.write_bytes(data)
    assert_whole(open_toy(tmp_path / "a"))


def test_every_flipped_byte_of_the_manifest_is_found(tmp_path):
    write(tmp_path / "a")
    path = tmp_path / "a" / MANIFEST
    data = path.read_bytes()
    whole = json.loads(data)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        path.write_bytes(changed)
        try:
            same = json.loads(changed) == whole  # a blank more or less between two values
        except ValueError:
            same = False
        if same:
            assert_whole(open_toy(tmp_path / "a"))
        else:
            with pytest.raises(ArtifactError):
                open_toy(tmp_path / "a")
    del whole["digest"]  # written before a manifest had one
    path.write_text(json.dumps(whole))
    assert_whole(open_toy(tmp_path / "a"))


def test_damage_that_was_not_looked_for_is_told_when_read(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "a" / "weights.safetensors").write_bytes(b"\xff" * 100)
    artifact = open_toy(tmp_path / "a", verify=False)
    with pytest.raises(ArtifactError, match="part 'weights' is damaged"):
        open_toy(tmp_path / "a", verify=False).mapped("weights")
    with pytest.raises(ArtifactError, match="part 'weights' is damaged"):
        artifact.tensors("weights")


def test_what_is_no_such_artifact_is_told(tmp_path):
    write(tmp_path / "a")
    with pytest.raises(ArtifactError, match="is a toy, not a recommender; give the folder of a recommender"):
        open_artifact(tmp_path / "a", "recommender", format_version=1)
    with pytest.raises(ArtifactError, match="has toy format 1, this recgan reads 2; make it anew"):
        open_artifact(tmp_path / "a", "toy", format_version=2)
    with pytest.raises(ArtifactError, match=r"does not exist; give the folder that a recgan verb wrote with --out"):
        open_toy(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json: it is not an artifact, or was not finished"):
        open_toy(tmp_path)
    manifest = tmp_path / "a" / MANIFEST
    content = json.loads(manifest.read_text())
    for damaged in (b"{", b"\xff", b"[]", json.dumps({**content, "more": 1}).encode()):
        manifest.write_bytes(damaged)
        with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
            open_toy(tmp_path / "a")


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", "x/../../secret.json"])
def test_a_manifest_that_points_outside_is_refused(tmp_path, name):
    write(tmp_path / "a")
    manifest = tmp_path / "a" / MANIFEST
    content = json.loads(manifest.read_text())
    content["files"][name] = "0" * 64
    manifest.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        open_toy(tmp_path / "a", verify=False)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty place in fsspec's store in memory, by its URL; there are no copies yet."""
    monkeypatch.setenv("RECGAN_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield "memory://bucket/models/a"
    memory.store.clear()


def test_an_object_store_holds_the_same_and_the_manifest_comes_last(tmp_path, store, monkeypatch):
    memory = fsspec.filesystem("memory")
    order = []
    put = type(memory).put_file

    def noting(self, local, remote, **options):
        order.append(remote.rsplit("/models/a/", 1)[1])
        put(self, local, remote, **options)

    monkeypatch.setattr(type(memory), "put_file", noting)
    write(store)
    assert order[-1] == MANIFEST
    assert sorted(order[:-1]) == ["items.parquet", "notes/deep.json", "sheet.png", "weights.safetensors"]
    artifact = open_toy(store)
    assert_whole(artifact)
    write(tmp_path / "local")
    assert artifact.digest == open_toy(tmp_path / "local").digest
    with pytest.raises(ArtifactError, match="exists already"):
        write(store)
    assert len(order) == 5  # and nothing was sent
    write(store, weights={"w": WEIGHTS["w"] + 1}, overwrite=True)
    assert open_toy(store).tensors("weights")["w"][0, 0] == 1


def test_a_place_that_cannot_be_written_is_told_before_the_work(store, monkeypatch):
    memory = fsspec.filesystem("memory")
    check_out(store)
    assert memory.find("/bucket") == []
    write(store)
    with pytest.raises(ArtifactError, match="exists already; choose another --out or pass --overwrite"):
        check_out(store)
    check_out(store, overwrite=True)
    assert open_toy(store).tensors("weights")["w"][1, 2] == 5

    def refuse(*_, **__):
        raise RuntimeError("no credentials")  # stores raise what they like

    monkeypatch.setattr(type(memory), "pipe_file", refuse)
    with pytest.raises(StorageError, match=r"cannot write 'memory://.*no credentials; choose an --out that you may"):
        check_out(store, overwrite=True)
    with pytest.raises(SettingsError, match=r"'nosuch://a/b' cannot be reached: .*give a local folder"):
        check_out("nosuch://a/b")


@pytest.mark.parametrize("after", range(5))
def test_an_upload_that_stops_is_never_readable(store, monkeypatch, after):
    memory = fsspec.filesystem("memory")
    put = type(memory).put_file
    sent = []

    def failing(self, local, remote, **options):
        if len(sent) == after:
            raise OSError("connection lost")
        sent.append(remote)
        put(self, local, remote, **options)

    write(store)  # an older one, to be replaced
    monkeypatch.setattr(type(memory), "put_file", failing)
    with pytest.raises(
        StorageError, match="connection lost; the manifest was not written, so nothing half-done is readable"
    ):
        write(store, overwrite=True)
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json"):
        open_toy(store)


def test_a_remote_part_that_is_missing_or_changed_is_found(store):
    memory = fsspec.filesystem("memory")
    write(store)
    memory.pipe_file("/bucket/models/a/sheet.png", b"pnG")
    with pytest.raises(ArtifactError, match=r"'memory://.*part 'sheet\.png' does not match its checksum"):
        open_toy(store)
    memory.rm_file("/bucket/models/a/sheet.png")
    with pytest.raises(ArtifactError, match=r"part 'sheet\.png' is missing"):
        open_toy(store)
    with pytest.raises(ArtifactError, match=r"holds no manifest\.json"):
        open_toy("memory://bucket/models/b")


@pytest.fixture
def fetched(monkeypatch):
    """The parts that were fetched; several threads may fetch at once, as from a real store (a memory store's own
    readers share one position in each file)."""
    memory, parts = fsspec.filesystem("memory"), []

    def noting(self, remote, local, **_):
        parts.append(remote.rsplit("/", 1)[1])
        Path(local).write_bytes(self.store[self._strip_protocol(remote)].getvalue())

    monkeypatch.setattr(type(memory), "get_file", noting)
    return parts


def test_a_remote_artifact_is_fetched_once_by_its_checksum_wherever_it_lies(tmp_path, store, fetched):
    write(store)
    write("memory://elsewhere/b")
    copy = open_toy(store)
    assert_whole(copy)
    assert copy.folder == tmp_path / "cache" / "artifacts" / copy.digest
    assert len(fetched) == 6  # the manifest twice: to see which it is, and as part of the copy
    assert open_toy("memory://elsewhere/b").folder == open_toy(store, verify=False).folder == copy.folder
    assert fetched[6:] == [MANIFEST, MANIFEST]
    write(store, weights={"w": WEIGHTS["w"] + 1}, overwrite=True)
    assert open_toy(store).tensors("weights")["w"][0, 0] == 1
    assert copy.tensors("weights")["w"][0, 0] == 0


@pytest.mark.parametrize("verify", [True, False])
def test_a_copy_that_was_damaged_is_fetched_again(store, fetched, verify):
    write(store)
    folder = open_toy(store).folder
    damages = [lambda: (folder / "sheet.png").write_bytes(b"pnG")]
    damages += [(folder / name).unlink for name in ("weights.safetensors", "manifest.json")]
    for damage in damages:
        damage()
        assert_whole(open_toy(store, verify=verify))
    assert fetched.count("sheet.png") == 4


def test_a_copy_for_which_there_is_no_room_or_no_home_says_so(tmp_path, store, monkeypatch):
    write(store)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.memory.MemoryFileSystem.get_file", full)
        with pytest.raises(StorageError, match="no room for a copy"):
            open_toy(store)
    monkeypatch.delenv("RECGAN_CACHE")
    monkeypatch.setattr("pathlib.Path.expanduser", lambda path: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(StorageError, match="set RECGAN_CACHE"):
        open_toy(store)


def test_what_is_damaged_on_the_store_is_not_kept(tmp_path, store, fetched):
    write(store)
    fsspec.filesystem("memory").pipe_file("/bucket/models/a/sheet.png", b"pnG")
    for _ in range(2):
        with pytest.raises(ArtifactError, match="does not match its checksum"):
            open_toy(store, verify=False)
    assert [path for path in (tmp_path / "cache" / "artifacts").iterdir() if path.is_dir()] == []


def test_processes_that_fetch_at_once_fetch_once(store, fetched):
    write(store)
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_toy(store), range(4)))
    assert {one.folder for one in opened} == {opened[0].folder}
    assert fetched.count("sheet.png") == 1


def test_a_cache_that_cannot_be_written_is_told(tmp_path, store, monkeypatch):
    write(store)
    (tmp_path / "file").touch()
    monkeypatch.setenv("RECGAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"no copy can be kept in .*file/artifacts.*; set RECGAN_CACHE to a folder"):
        open_toy(store)
