"""The benchmark of the GAN's speed counts what it says it counts."""

from __future__ import annotations

import json

import pytest
import torch

from recgan.config import overridden
from recgan.errors import SettingsError
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


def arithmetic(benchmark, images, *settings):
    return benchmark.arithmetic(training(benchmark, images, "modern-small", *settings))[torch.float32]


def test_second_derivatives_are_counted(benchmark):
    x, weight = torch.randn(5, 7, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    product = 2 * 5 * 7 * 3
    with benchmark.Arithmetic() as counted:
        value = (x @ weight).square().sum()
    assert counted.by_precision == {torch.float32: product}
    with benchmark.Arithmetic() as counted:
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)  # value's gradient @ weight.T
    assert counted.by_precision == {torch.float32: product}
    with benchmark.Arithmetic() as counted:
        gradient.square().sum().backward()  # of the product with weight.T by both, then of x @ weight by both
    assert counted.by_precision == {torch.float32: 4 * product}


def test_penalties_cost_more_where_they_are_taken_more_often(benchmark, images):
    often, seldom = (arithmetic(benchmark, images, f"r1_every={every}") for every in (1, 4))
    never = arithmetic(benchmark, images, "r1_weight=0", "r2_weight=0")
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


def test_a_cycle_holds_all_that_is_not_done_in_each_step(benchmark, images):
    several = training(benchmark, images, "modern-small", "discriminator_steps=5", "r1_every=2")
    assert several.cycle == 10
    first = benchmark.arithmetic(several)
    several.step()
    assert benchmark.arithmetic(several) == first
    assert training(benchmark, images, "sngan-projection").cycle == 5


def test_penalties_are_counted_in_their_own_precision(benchmark, images):
    free, penalised = (
        benchmark.arithmetic(training(benchmark, images, "modern-small", "precision=bfloat16", *settings))
        for settings in (["r1_weight=0", "r2_weight=0"], ["r1_every=1"])
    )
    assert set(free) == {torch.bfloat16}
    assert penalised[torch.bfloat16] == free[torch.bfloat16]
    assert penalised[torch.float32] > 0


def test_its_figures_fit_each_other(benchmark, tiny_bundle, tmp_path, monkeypatch):
    out = tmp_path / "speed.json"
    arguments = [argument for setting in NARROW for argument in ("--set", setting)]
    monkeypatch.setattr(benchmark, "speed", lambda training, count: 50.0)
    monkeypatch.setattr(benchmark, "arithmetic", lambda training: {torch.bfloat16: 4e9, torch.float32: 1e9})
    monkeypatch.setattr(
        benchmark, "fastest", lambda device, precision: {torch.bfloat16: 1e12, torch.float32: 1e11}[precision]
    )
    benchmark.main([
        str(tiny_bundle.path), "--recipes", "modern-small,dcgan-lsgan", "--size", "16", "--steps", "4",
        "--device", "cpu", *arguments, "--out", str(out),
    ])  # fmt: skip
    first, second = json.loads(out.read_text())
    assert [first["recipe"], second["recipe"]] == ["modern-small", "dcgan-lsgan"]
    assert first["batch_size"] == 4
    assert first["gigaflops_per_image"] == {"torch.bfloat16": 4.0, "torch.float32": 1.0}
    assert first["share_of_floor"] == pytest.approx(50 * (0.004 + 0.01))


def test_another_device_is_refused(benchmark, tiny_bundle, monkeypatch):
    monkeypatch.setattr(benchmark, "resolve_device", lambda name: torch.device("mps"))
    with pytest.raises(SettingsError, match="--device mps: this benchmark measures cpu and cuda"):
        benchmark.main([str(tiny_bundle.path)])
