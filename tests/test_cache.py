import resource

import numpy as np
import pytest

from recgan.dataset.cache import cached_array, new_cached_array
from recgan.dataset.pixels import load_pixels
from recgan.encoders import embed_items
from recgan.errors import ArtifactError, StorageError


@pytest.fixture
def no_room(monkeypatch):
    """Let no file of this process grow over 4 KB: a write fails as on a full disk, a memory map would be killed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_array_is_whole_or_not_there(tmp_path):
    path = tmp_path / "deep" / "a.npy"
    with pytest.raises(KeyboardInterrupt), new_cached_array(path, (3, 2), np.float32):
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    with new_cached_array(path, (3, 2), np.float32) as array:
        assert array.sum() == 0
        array[1] = 5
    again = cached_array(path)
    assert again.tolist() == [[0, 0], [5, 5], [0, 0]]
    assert not again.flags.writeable


def test_pixels_that_find_no_room_are_told(make_bundle, request):
    bundle = make_bundle()
    request.getfixturevalue("no_room")
    with pytest.raises(StorageError, match="cannot cache 'pixels-"):
        load_pixels(bundle, 64)
    assert list(bundle.cache_folder.iterdir()) == []


def test_features_that_find_no_room_are_told(make_bundle, request):
    bundle = make_bundle()
    load_pixels(bundle, 64)
    request.getfixturevalue("no_room")
    with pytest.raises(StorageError, match="cannot cache 'features-"):
        embed_items(bundle)
    assert [path.name.split("-")[0] for path in bundle.cache_folder.iterdir()] == ["pixels"]


def test_a_cache_cut_short_is_refused_with_the_mend(tmp_path):
    path = tmp_path / "a.npy"
    with new_cached_array(path, (100,), np.float32):
        pass
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ArtifactError, match="delete it, and it is made again"):
        cached_array(path)
