"""VBPR beside cornac's."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.optim.optimizer import register_optimizer_step_post_hook

from recgan.config import VBPRSettings
from recgan.device import torch_threads
from recommending.data import World, world
from recommending.timing import EPOCHS, PATIENCE, Chooser, Clock, Epoch, trained

__all__ = ["vbpr_vs_cornac"]

CORNAC = [(batch, rate) for batch in (256, 1024, 4096) for rate in (0.001, 0.003, 0.01)]
"""Batch sizes and learning rates tried for cornac. Its loss (3.0.1) adds a column [B, 1] to a row [B], so that it costs
B^2: larger batches are no faster."""
OURS = (1.0, 0.5)
"""What both learning rates of ours are multiplied by: validation chooses, as it does for cornac."""


def vbpr_vs_cornac(scale: str, seed: int = 0) -> dict[str, Any]:
    """Train VBPR, 32 latent and 32 visual factors, by cornac and by ours."""
    drawn = world(scale, seed)
    mine = [_ours(drawn, EPOCHS[scale], factor) for factor in (OURS if scale != "tiny" else OURS[:1])]
    ours, epochs = max(mine, key=lambda one: one[0]["validation_auc_ours"])
    ours |= {"tried_ours": [figures.copy() for figures, _ in mine]}
    try:
        tried = [_cornac(drawn, EPOCHS[scale], *choice) for choice in (CORNAC if scale != "tiny" else CORNAC[:1])]
    except ModuleNotFoundError as error:
        return ours | {"skipped": f"cornac is not installed ({error}); pip install 'recgan[bench]'"}
    theirs = max(tried, key=lambda one: one["validation_auc_cornac"])
    result = ours | theirs | {"tried_cornac": tried}
    for number, epoch in enumerate(epochs, start=1):
        if epoch.validation >= theirs["validation_auc_cornac"]:
            reached = drawn.auc(*epoch.factors, drawn.test)
            if reached >= theirs["auc_cornac"]:
                wall, cpu = epoch.seconds.tolist()
                return result | {
                    "reached_in_epoch": number,
                    "reached_auc": reached,
                    "reached_seconds": wall,
                    "reached_cpu_seconds": cpu,
                    "cornac_over_ours_seconds": theirs["seconds_cornac"] / wall,
                    "cornac_over_ours_cpu_seconds": theirs["cpu_seconds_cornac"] / cpu,
                }
    return result | {"reached_in_epoch": None}


def _ours(drawn: World, epochs: int, factor: float) -> tuple[dict[str, Any], list[Epoch]]:
    rates = {
        name: factor * VBPRSettings.model_fields[name].default for name in ("learning_rate", "visual_learning_rate")
    }
    settings = VBPRSettings(latent_dim=32, visual_dim=32, epochs=epochs, patience=PATIENCE, **rates)
    figures, seen = trained(drawn, "vbpr", settings)
    return {"rate_factor_ours": factor} | figures, seen


def _cornac(drawn: World, epochs: int, batch_size: int, learning_rate: float) -> dict[str, Any]:
    from cornac.data import Dataset, ImageModality
    from cornac.models import VBPR

    data = drawn.data
    users, items = (OrderedDict((str(n), n) for n in range(count)) for count in (data.n_users, data.n_items))
    triples = [(str(user), str(item), 1.0) for user, item in zip(data.train.users, data.train.items)]
    train_set = Dataset.build(triples, global_uid_map=users, global_iid_map=items, seed=0)
    pictures = ImageModality(features=drawn.features, ids=list(items), normalized=False)
    train_set.add_modalities(item_image=pictures.build(id_map=items))
    chooser = Chooser(drawn, epochs)
    parameters: list[torch.Tensor] = []
    draw = train_set.uij_iter

    def judged(*arguments: Any, **options: Any) -> Any:  # cornac asks for the triples of each epoch here
        if parameters:
            bias, user, item, visual, projection, visual_bias = (p.detach().numpy() for p in parameters)
            item_bias = bias[:, None] + drawn.features @ visual_bias
            ours = np.concatenate([np.ones((len(user), 1), np.float32), user, visual], axis=1)
            chooser.judge(ours, np.concatenate([item_bias, item, drawn.features @ projection], axis=1))
        return draw(*arguments, **options)

    def stepped(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        parameters[:] = optimiser.param_groups[0]["params"]

    train_set.uij_iter = judged
    hook = register_optimizer_step_post_hook(stepped)
    try:
        model = VBPR(
            k=32,
            k2=32,
            n_epochs=epochs + 1,
            batch_size=batch_size,
            learning_rate=learning_rate,
            verbose=False,
            seed=0,
        )
        chooser.clock = Clock()
        with contextlib.suppress(StopIteration), torch_threads(1), threadpool_limits(1):
            model.fit(train_set)
    finally:
        hook.remove()
    rate = len(data.train) * chooser.epoch / chooser.seconds[1]
    found = {"batch_size_cornac": batch_size, "learning_rate_cornac": learning_rate}
    return found | chooser.result("cornac") | {"triples_per_cpu_second_cornac": float(rate)}
