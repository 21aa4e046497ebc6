"""Two processes that train together make the run that one would make."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from recgan.dataset.bundle import Bundle
from recgan.errors import SettingsError
from recgan.gan import build_networks, find_recipe, train_gan
from recgan.gan.training import trainer
from recgan.gan.training.parallel import ALONE, World

# No augmentation, no dropout, no batch norm: then the parts of a batch add up to it.
RECIPE = find_recipe("modern").model_copy(
    update={
        "generator_width": 16,
        "discriminator_width": 16,
        "latent_dim": 8,
        "class_dim": 4,
        "batch_size": 8,
        "augment": (),
        "ema_half_life": 40,
        "final_rate": 1.0,
        "final_penalty": 1.0,
        "class_warm_up": 0.0,
        "generator_learning_rate": 1e-4,
        "discriminator_learning_rate": 1e-4,
    }
)
SCRIPT = """
    import os, sys, torch
    torch.set_num_threads(1)
    from pathlib import Path
    from recgan.dataset.bundle import Bundle
    from recgan.gan import train_gan
    from tests.test_gan_parallel import RECIPE
    bundle, out = Bundle.open(sys.argv[1]), Path(sys.argv[2])
    options = {"size": 16, "device": "cpu", "sheet_every": 10**6}
    train_gan(bundle, RECIPE, out=out / "plain", images_seen=48, **options)
    flipped = RECIPE.model_copy(update={"augment": ("flip",)})
    train_gan(bundle, flipped, out=out / "whole", images_seen=32, **options)
    train_gan(bundle, flipped, out=out / "resumed", images_seen=16, **options)
    gan = train_gan(bundle, flipped, out=out / "resumed", images_seen=32, resume=True, **options)
    (out / f"digest-{os.environ['RANK']}").write_text(gan.digest)
"""


def weights(out: Path) -> dict[str, np.ndarray]:
    parts = ("generator", "discriminator")
    return {f"{part}.{name}": value for part in parts for name, value in load_file(out / f"{part}.safetensors").items()}


def test_two_processes_train_as_one_does_and_resume_to_the_bit(tiny_bundle: Bundle, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [*command, str(tiny_bundle.path), str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "digest-0").read_text() == (tmp_path / "digest-1").read_text()

    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "resumed")
    for name, array in whole.items():
        assert array.tobytes() == resumed[name].tobytes(), name

    train_gan(tiny_bundle, RECIPE, out=tmp_path / "alone", images_seen=48, size=16, device="cpu", sheet_every=10**6)
    alone, plain = weights(tmp_path / "alone"), weights(tmp_path / "plain")
    _, discriminator = build_networks(RECIPE, 3, 16, torch.Generator().manual_seed(0))
    apart = moved = 0.0
    for name, start in discriminator.state_dict().items():
        end = alone[f"discriminator.{name}"]
        apart += np.abs(plain[f"discriminator.{name}"] - end).sum()
        moved += np.abs(start.numpy() - end).sum()
    assert apart < 0.02 * moved


def test_a_batch_that_cannot_be_shared_is_refused(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "join", lambda device: (World(0, 3), torch.device("cpu")))
    with pytest.raises(SettingsError, match="batch_size=8 cannot be shared by 3 processes"):
        train_gan(tiny_bundle, RECIPE, out=tmp_path / "gan", size=16)


def test_each_process_takes_its_own_part_and_one_alone_all() -> None:
    batch = torch.arange(12)
    parts = [World(rank, 3).part(batch) for rank in range(3)]
    assert torch.equal(torch.cat(parts), batch)
    assert ALONE.part(batch) is batch
    assert ALONE.any(True, False) == [True, False]
