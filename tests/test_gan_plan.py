"""The list of recipes, the dry run, and a step in half precision."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recgan import cli
from recgan.config import Recipe
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import image_split
from recgan.errors import SettingsError
from recgan.gan import RECIPES, build_networks, find_recipe, plan_gan
from recgan.gan.training.steps import new_state, train_step


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*argv: object) -> str:
        monkeypatch.setattr(sys, "argv", ["recgan", *map(str, argv)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        assert not stop.value.code, captured.err
        return captured.out

    return run


def test_the_list_names_every_recipe_and_what_it_is(call: Any) -> None:
    shown = call("train", "gan", "--list")
    assert all(name in shown for name in RECIPES)
    listed = json.loads(call("train", "gan", "--list", "--json"))["recipes"]
    assert {row["recipe"]: row["what it is"] for row in listed} == {r.name: r.summary for r in RECIPES.values()}


def test_a_dry_run_tells_all_and_writes_nothing(call: Any, tiny_bundle: Bundle, tmp_path: Path) -> None:
    before = sorted(path for path in tiny_bundle.path.rglob("*"))
    text = call(
        *(
            "train",
            "gan",
            tiny_bundle.path,
            "--recipe",
            "wgan-gp",
            "--size",
            32,
            "--images-seen",
            1000,
            "--device",
            "cpu",
        ),
        *("--set", "batch_size=10", "--out", tmp_path / "gan", "--dry-run", "--json"),
    )
    plan = json.loads(text)
    assert sorted(path for path in tiny_bundle.path.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []
    assert plan["recipe"]["batch_size"] == 10
    assert plan["recipe"]["gradient_penalty_weight"] == 10
    assert plan["steps"] == {"discriminator": 100, "generator": 20}
    trained = image_split(tiny_bundle)[tiny_bundle.primary_images] == 0
    assert plan["training_images"] == trained.sum() == sum(plan["images_by_category"].values())
    recipe = Recipe(**plan["recipe"])
    for name, network in zip(("generator", "discriminator"), build_networks(recipe, 3, 32, torch.Generator())):
        assert plan["weights"][name] == sum(parameter.numel() for parameter in network.parameters())


def test_a_plan_has_the_recipes_own_length_and_refuses_what_training_would(tiny_bundle: Bundle) -> None:
    assert plan_gan(tiny_bundle, "modern-small", size=32, device="cpu")["images_seen"] == 200_000
    with pytest.raises(SettingsError, match="64 px only"):
        plan_gan(tiny_bundle, "kang2017", size=32, device="cpu")


def test_half_precision_forward_passes_leave_weights_and_losses_in_full() -> None:
    small = {"generator_width": 16, "discriminator_width": 16, "latent_dim": 8, "class_dim": 4, "batch_size": 4}
    images, classes = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1, torch.arange(4) % 2
    figures = {}
    for precision in ("float32", "bfloat16"):
        recipe = find_recipe("modern").model_copy(update=small | {"precision": precision})
        rng = torch.Generator().manual_seed(0)
        state = new_state(recipe, build_networks(recipe, 2, 32, rng), rng, torch.device("cpu"))
        figures[precision] = train_step(state, recipe, images, classes)
        assert all(value.dtype == torch.float32 for value in figures[precision].values())
        assert all(parameter.dtype == torch.float32 for parameter in state.generator.parameters())
    for name in ("loss/discriminator", "penalty/r1"):
        assert figures["bfloat16"][name].item() == pytest.approx(figures["float32"][name].item(), rel=0.02), name
    assert figures["bfloat16"]["logits/real"] != figures["float32"]["logits/real"]
    assert figures["bfloat16"]["penalty/r1"] == figures["float32"]["penalty/r1"]
