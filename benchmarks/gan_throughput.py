"""How many images a second a GAN recipe trains on, where the time goes, and how far that is from the arithmetic floor.

    python benchmarks/gan_throughput.py BUNDLE [--recipes modern,dcgan] [--size 64] [--set precision=bfloat16]

Three measurements of the same training, from random weights on the bundle's train photos: the speed, undisturbed; the
time by phase, with the device waited for at each change of phase; and the arithmetic of a step, counted as
multiplications and additions of convolutions and matrices, second derivatives included. The floor is what that
arithmetic would take at the speed of one large matrix product of its precision (penalties are float32 always); on an
accelerator with few and small batches the distance from it is launching, not arithmetic. On a CPU times are processor
time, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from recgan.config import Recipe, overridden
from recgan.dataset.bundle import Bundle
from recgan.device import resolve_device
from recgan.errors import SettingsError
from recgan.gan import build_networks, find_recipe
from recgan.gan.data import CatalogueImages, ClassSampler
from recgan.gan.training import steps
from recgan.gan.training.steps import TrainingState, new_state, train_step

WARM_UP = 8
"""Steps before anything is measured."""
ROUNDS = 5
"""The speed is the median of so many rounds."""
MATRIX = {"cpu": 1024, "cuda": 8192}
"""Side of the matrices whose product says how fast the device can calculate."""
PHASES = {
    "augment": "augmentation",
    "_generate": "forward",
    "_judge": "forward",
    "_flatness": "penalty",
    "one_centred_penalty": "penalty",
    "update_average": "average",
}
"""What the functions of a step (`recgan.gan.training.steps`) are counted as; each without what it calls."""


class Clock:
    """Seconds by phase: what runs inside another phase does not count for that one."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._device = device
        self._phases = ["rest"]
        self._since = self.now()

    def now(self) -> float:
        """Return the time in seconds, when the device has done all that it was told to."""
        if self._device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self._device)
        return time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what runs inside for ``name``."""
        self._turn()
        self._phases.append(name)
        try:
            yield
        finally:
            self._turn()
            self._phases.pop()

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose time counts for ``name``."""

        def measured(*args: Any, **options: Any) -> Any:
            with self.phase(name):
                return function(*args, **options)

        return measured

    def _turn(self) -> None:
        now = self.now()
        self.seconds[self._phases[-1]] += now - self._since
        self._since = now


class Training:
    """A recipe's training from random weights, one step at a time."""

    def __init__(self, recipe: Recipe, images: CatalogueImages, n_classes: int, size: int) -> None:
        rng = torch.Generator().manual_seed(0)
        networks = build_networks(recipe, n_classes, size, rng)
        self.recipe, self.images, self.device = recipe, images, images.device
        self.state: TrainingState = new_state(recipe, networks, rng, images.device)
        self.state.length = 2 * 10**6
        self.state.images_seen = 10**6 // recipe.batch_size * recipe.batch_size  # half-way: schedules in full swing
        self._sampler = ClassSampler(images.class_index, recipe.class_power)
        penalised = recipe.r1_every if recipe.r1_weight or recipe.r2_weight else 1
        self.cycle = math.lcm(penalised, recipe.discriminator_steps)
        """Steps after which all is done that is not done in each."""

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch as the trainer draws it."""
        indices = self._sampler.draw(self.recipe.batch_size, self.state.rng)
        return self.images.images(indices), self.images.class_index[indices].to(self.device)

    def step(self) -> None:
        """Train on one batch."""
        train_step(self.state, self.recipe, *self.batch())


def speed(training: Training, count: int) -> float:
    """Return images a second, the median of `ROUNDS` rounds of ``count`` steps."""
    clock, rates = Clock(training.device), []
    for _ in range(ROUNDS):
        began = clock.now()
        for _ in range(count):
            training.step()
        rates.append(count * training.recipe.batch_size / (clock.now() - began))
    return statistics.median(rates)


def time_by_phase(training: Training, count: int) -> dict[str, float]:
    """Return each phase's share of the time of ``count`` steps; a penalty's backward pass is its own where it is a
    step of its own (``r1_every`` above 1)."""
    clock = Clock(training.device)
    penalised = False

    def flatness(*args: Any, **options: Any) -> Any:
        nonlocal penalised
        penalised = training.recipe.r1_every > 1
        return penalty(*args, **options)

    def backward(*args: Any, **options: Any) -> Any:
        nonlocal penalised
        name, penalised = "penalty" if penalised else "backward", False
        with clock.phase(name):
            return torch_backward(*args, **options)

    penalty, torch_backward = steps._flatness, torch.Tensor.backward
    with ExitStack() as patches:
        patches.enter_context(patch.object(steps, "_flatness", flatness))
        for name, phase in PHASES.items():
            patches.enter_context(patch.object(steps, name, clock.counted(phase, getattr(steps, name))))
        patches.enter_context(patch.object(torch.Tensor, "backward", backward))
        for optimiser in training.state.optimisers().values():
            patches.enter_context(patch.object(optimiser, "step", clock.counted("optimiser", optimiser.step)))
        for _ in range(count):
            with clock.phase("data"):
                batch = training.batch()
            with clock.phase("rest"):
                train_step(training.state, training.recipe, *batch)
    total = sum(clock.seconds.values())
    return {name: seconds / total for name, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1])}


class Arithmetic(TorchDispatchMode):
    """Counts floating-point operations by torch's own table. (Its `FlopCounterMode` hooks modules, which gradients of
    gradients do not pass.)"""

    def __init__(self) -> None:
        super().__init__()
        self.by_precision: defaultdict[torch.dtype, int] = defaultdict(int)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and count it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if (count := flop_registry.get(func.overloadpacket)) is not None:
            made = result if isinstance(result, torch.Tensor) else next(one for one in result if one is not None)
            self.by_precision[made.dtype] += count(*args, **kwargs, out_val=result)
        return result


def arithmetic(training: Training) -> dict[torch.dtype, float]:
    """Return the floating-point operations for one real image by their precision, the mean over a cycle of steps."""
    with Arithmetic() as counted:
        for _ in range(training.cycle):
            training.step()
    images = training.cycle * training.recipe.batch_size
    return {precision: count / images for precision, count in counted.by_precision.items()}


def fastest(device: torch.device, precision: torch.dtype) -> float:
    """Return the floating-point operations a second of one large matrix product."""
    side = MATRIX[device.type]
    a, b = torch.randn(2, side, side, device=device, dtype=precision)
    clock, best = Clock(device), 0.0
    for _ in range(10):
        began = clock.now()
        a @ b
        best = max(best, 2 * side**3 / (clock.now() - began))
    return best


def main(argv: list[str] | None = None) -> None:
    """Measure each recipe and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--recipes", default="modern,dcgan")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="steps of a round")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    arguments = parser.parse_args(argv)
    device = resolve_device(arguments.device)
    if device.type not in MATRIX:
        raise SettingsError(f"--device {device.type}: this benchmark measures {' and '.join(MATRIX)}")
    if device.type == "cpu":
        torch.set_num_threads(1)
    # The matrix product is as exact as the convolutions that it is compared with.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    bundle = Bundle.open(arguments.bundle)
    images = CatalogueImages.of(bundle, arguments.size, ("train",), device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "one core"
    figures = []
    for recipe_name in arguments.recipes.split(","):
        recipe = overridden(find_recipe(recipe_name), arguments.settings)
        training = Training(recipe, images, len(bundle.category_names), arguments.size)
        for _ in range(WARM_UP):
            training.step()
        count = -(-arguments.steps // training.cycle) * training.cycle
        rate, operations = speed(training, count), arithmetic(training)
        limits = {precision: fastest(device, precision) for precision in operations}
        floor = sum(count / limits[precision] for precision, count in operations.items())
        figures.append(
            {
                "recipe": recipe_name,
                "settings": arguments.settings,
                "device": name,
                "size": arguments.size,
                "batch_size": recipe.batch_size,
                "images_per_second": round(rate, 1),
                "gigaflops_per_image": {str(one): round(count / 1e9, 4) for one, count in operations.items()},
                "device_teraflops": {str(one): round(limit / 1e12, 4) for one, limit in limits.items()},
                "share_of_floor": round(rate * floor, 4),
                "time": {name: round(share, 3) for name, share in time_by_phase(training, count).items()},
            }
        )
        print(json.dumps(figures[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
