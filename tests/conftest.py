"""Fixtures that the whole suite shares: a tiny bundle with pictures, and the place of the real photo sets."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import settings
from PIL import Image

from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.pixels import decode_image, pixel_digest
from tests.design_world import World, make_world

if TYPE_CHECKING:
    from tests.service_world import World as ServiceWorld

torch.set_num_threads(1)
# The same examples in every run, and none of them timed: a failure is then the change's, not the day's.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

CATEGORIES = ("bags", "dresses", "shoes")
_LONGEST = ("test_notebooks.py", "test_service_killed.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes go first: a worker that is given one at the end is waited for."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


def png(pixels: np.ndarray) -> bytes:
    """Encode uint8 pixels [H, W, 3] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def draw_item(category: int, rng: np.random.Generator, size: int = 40) -> bytes:
    """Draw a simple coloured shape on white; the shape depends on the category."""
    pixels = np.full((size, size, 3), 255, dtype=np.uint8)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    shape = (
        (abs(rows) < 0.25) & (abs(columns) < 0.35),
        (abs(columns) < 0.15 + 0.25 * (rows + 0.5)) & (abs(rows) < 0.42),
        (rows > 0.05) & (rows < 0.3) & (abs(columns) < 0.4),
    )[category % 3]
    pixels[shape] = rng.integers(0, 200, 3)
    return png(pixels)


def write_bundle(out: Path, *, items: int = 24, users: int = 16, seed: int = 0, size: int = 40) -> Bundle:
    """Write a small bundle: three categories in turn, and users who each like one of them best."""
    rng = np.random.default_rng(seed)
    item_ids = [f"{index:04d}" for index in range(items)]
    categories = [CATEGORIES[index % 3] for index in range(items)]
    rows = []
    for user in range(users):
        liked = [index for index in range(items) if index % 3 == user % 3]
        others = [index for index in range(items) if index % 3 != user % 3]
        taken = [*rng.choice(liked, min(5, len(liked)), replace=False), *rng.choice(others, 2, replace=False)]
        for step, item in enumerate(rng.permutation(taken)):
            rows.append(
                (
                    f"user-{user:02d}",
                    item_ids[item],
                    pd.Timestamp("2025-01-01") + pd.Timedelta(days=user + 20 * step),
                )
            )
    with BundleWriter(out, name="tiny", licence="CC0-1.0", source="drawn by the tests") as writer:
        for index, item_id in enumerate(item_ids):
            data = draw_item(index % 3, rng, size)
            writer.add_image(item_id, data, sha256=pixel_digest(decode_image(data)))
        writer.set_items(pd.DataFrame({"item_id": item_ids, "category": categories}))
        writer.set_interactions(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]))
    return Bundle.open(out)


@contextmanager
def loaded_benchmark(name: str) -> Iterator[ModuleType]:
    """Yield a script of ``benchmarks/``, which is no package, as a module; what lies beside it can be imported."""
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(path.parent))
        del sys.modules[spec.name]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copies of remote artifacts are kept by the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """24 drawn items in three categories, 16 users with seven timed interactions each. Read-only: shared by all."""
    return write_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="session")
def design_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world to design in (`tests.design_world`). Read-only: shared by all."""
    return make_world(tmp_path_factory.mktemp("design-world"))


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """A function that writes another small bundle; its options are those of `write_bundle`."""
    made = iter(range(1000))
    return lambda **options: write_bundle(tmp_path / f"made-{next(made)}" / "bundle", **options)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real photo sets; tests that use it are skipped, saying so, where it is absent."""
    folder = Path(os.environ.get("RECGAN_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "fashion-product-images").is_dir():
        pytest.skip(f"no real photo sets at {folder}; set RECGAN_REAL_DATA to run the tests on them")
    return folder


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The catalogue of `service_world`."""
    from tests.service_world import write_catalogue  # here, since few tests need the service

    return write_catalogue(tmp_path_factory.mktemp("service") / "bundle")


@pytest.fixture
def world(catalogue: Bundle) -> Iterator[ServiceWorld]:
    """The running service."""
    from tests.service_world import running

    with running(catalogue) as world:
        yield world
