import errno
import io

import numpy as np
import pytest

from recgan.dataset.cache import cached_array, new_cached_array
from recgan.dataset.pixels import load_pixels
from recgan.encoders import embed_items
from recgan.errors import ArtifactError, StorageError


class FullDisk(io.FileIO):
    """A file on a disk with room for 4 KB more. (A file size limit would also stop pytest's own log.)"""

    def write(self, data):
        if self.tell() + len(data) > 4096:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.fixture
def no_room(monkeypatch):
    """Let the cache find the disk full."""
    monkeypatch.setattr("recgan.dataset.cache.open", FullDisk, raising=False)


def test_an_array_is_whole_or_not_there(tmp_path):
    path = tmp_path / "deep" / "a.npy"
    with pytest.raises(KeyboardInterrupt), new_cached_array(path, (3, 2), np.float32):
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    with new_cached_array(path, (3, 2), np.float32) as array:
        assert array.sum() == 0
        array[1] = 5
    again = cached_array(path, (3, 2), np.float32)
    assert again.tolist() == [[0, 0], [5, 5], [0, 0]]
    assert not again.flags.writeable


def test_pixels_that_find_no_room_are_told(make_bundle, request):
    bundle = make_bundle()
    request.getfixturevalue("no_room")
    with pytest.raises(
        StorageError, match=r"cannot write '.*/pixels-.*No space left.*; free some space or move the bundle"
    ):
        load_pixels(bundle, 64)
    assert list(bundle.cache_folder.iterdir()) == []


def test_features_that_find_no_room_are_told(make_bundle, request):
    bundle = make_bundle()
    load_pixels(bundle, 64)
    request.getfixturevalue("no_room")
    with pytest.raises(
        StorageError, match=r"cannot write '.*/features-.*No space left.*; free some space or move the bundle"
    ):
        embed_items(bundle)
    assert [path.name.split("-")[0] for path in bundle.cache_folder.iterdir()] == ["pixels"]


def cut_short(path, array):
    path.write_bytes(path.read_bytes()[:200])


def with_a_nan(path, array):
    array[-1, 0] = np.nan
    np.save(path, array)


def without_a_row(path, array):
    np.save(path, array[1:])


def flat(path, array):
    np.save(path, array.ravel())


def of_another_type(path, array):
    np.save(path, array.astype(np.float64))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut_short, "it is no whole array"),
        (with_a_nan, "it holds numbers that are not finite"),
        (without_a_row, r"it holds float32 \[23, 1280\] where float32 \[24, 1280\] belongs"),
        (flat, r"it holds float32 \[30720\] where"),
        (of_another_type, r"it holds float64 \[24, 1280\] where"),
    ],
)
def test_a_damaged_cache_is_refused_with_the_file_and_made_again_when_that_is_gone(make_bundle, damage, told):
    bundle = make_bundle()
    whole = np.array(embed_items(bundle, device="cpu").values)
    path = next(bundle.cache_folder.glob("features-*.npy"))
    damage(path, whole.copy())
    with pytest.raises(
        ArtifactError, match=rf"the cached file '{path}' is damaged \({told}.*delete it, and it is made"
    ):
        embed_items(bundle, device="cpu")
    path.unlink()
    np.testing.assert_array_equal(embed_items(bundle, device="cpu").values, whole)
