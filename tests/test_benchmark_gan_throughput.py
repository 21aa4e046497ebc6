"""The benchmark of the GAN's speed counts what it says it counts."""

from __future__ import annotations

import json

import pytest
import torch

from recgan.config import overridden
from recgan.gan import find_recipe
from recgan.gan.data import CatalogueImages
from tests.conftest import loaded_benchmark

NARROW = ["generator_width=16", "discriminator_width=16", "batch_size=4"]


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark's module."""
    with loaded_benchmark("gan_throughput") as module:
        yield module


@pytest.fixture(scope="module")
def images(tiny_bundle):
    """The train photos of the small bundle, at 16 px."""
    return CatalogueImages.of(tiny_bundle, 16, ("train",), torch.device("cpu"))


def training(benchmark, images, name, *settings):
    return benchmark.Training(overridden(find_recipe(name), [*NARROW, *settings]), images, 3, 16)


def test_second_derivatives_are_counted(benchmark):
    x, weight = torch.randn(5, 7, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    product = 2 * 5 * 7 * 3
    with benchmark.Arithmetic() as counted:
        value = (x @ weight).square().sum()
    assert counted.total == product
    with benchmark.Arithmetic() as counted:
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)  # value's gradient @ weight.T
    assert counted.total == product
    with benchmark.Arithmetic() as counted:
        gradient.square().sum().backward()  # of the product with weight.T by both, then of x @ weight by both
    assert counted.total == 4 * product


def test_penalties_cost_more_where_they_are_taken_more_often(benchmark, images):
    often, seldom = (
        benchmark.arithmetic(training(benchmark, images, "modern-small", f"r1_every={every}")) for every in (1, 4)
    )
    never = benchmark.arithmetic(training(benchmark, images, "modern-small", "r1_weight=0", "r2_weight=0"))
    assert often - never == pytest.approx(4 * (seldom - never), rel=1e-6)
    assert seldom > never


def test_phases_are_told_apart_and_the_trainer_is_left_as_it_was(benchmark, images):
    before = (benchmark.steps._judge, benchmark.steps._flatness, torch.Tensor.backward)
    shares = benchmark.time_by_phase(training(benchmark, images, "modern-small"), 4)
    assert (benchmark.steps._judge, benchmark.steps._flatness, torch.Tensor.backward) == before
    assert set(shares) == {
        "data", "augmentation", "forward", "backward", "penalty", "optimiser", "average", "rest",
    }  # fmt: skip
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    without = benchmark.time_by_phase(training(benchmark, images, "dcgan", "minibatch=none"), 4)
    assert "penalty" not in without


def test_its_figures_fit_each_other(benchmark, tiny_bundle, tmp_path):
    out = tmp_path / "speed.json"
    arguments = [argument for setting in NARROW for argument in ("--set", setting)]
    benchmark.main([
        str(tiny_bundle.path), "--recipes", "modern-small,dcgan-lsgan", "--size", "16", "--steps", "4",
        "--device", "cpu", *arguments, "--out", str(out),
    ])  # fmt: skip
    first, second = json.loads(out.read_text())
    assert [first["recipe"], second["recipe"]] == ["modern-small", "dcgan-lsgan"]
    assert first["batch_size"] == 4
    for one in (first, second):
        reached = one["images_per_second"] * one["gigaflops_per_image"] / one["device_teraflops"] / 1e3
        assert 0 < one["share_of_floor"] <= 1
        assert one["share_of_floor"] == pytest.approx(reached, abs=0.02)
