"""The losses of the factor models, with gradients written out, so that a step touches only the rows of its batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["pairwise_loss", "rank_weights", "ranked_hinge_loss", "sampled_softmax_loss", "warp_loss"]

LossAndGradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Losses, and the gradients of their sum to the users' and to the items' factors."""


def pairwise_loss(users: torch.Tensor, differences: torch.Tensor) -> LossAndGradients:
    """Return -ln sigma(u . (better - worse)) of each triple (BPR; Rendle et al. 2009), and its gradients.

    Args:
        users: float [B, D].
        differences: float [B, D], factors of the item taken less those of an item not taken.

    Returns:
        Losses [B], gradients [B, D] to the users and to the differences.
    """
    margin = torch.linalg.vecdot(users, differences)
    slope = (-torch.sigmoid(-margin))[:, None]
    return F.softplus(-margin), slope * differences, slope * users


def rank_weights(trials: torch.Tensor, free: torch.Tensor) -> torch.Tensor:
    """Return ln(1 + rank) of taken items, float32 [B], for `ranked_hinge_loss`.

    If the first item not taken that comes within 1 of the taken one is the t-th that was drawn (``trials`` int64 [B]),
    about (n - 1) / t of the user's n such items (``free`` int64 [B]) do: that, in whole numbers, is the rank.
    """
    return torch.log1p(torch.div(free - 1, trials, rounding_mode="floor").to(torch.float32))


def ranked_hinge_loss(users: torch.Tensor, differences: torch.Tensor, weights: torch.Tensor) -> LossAndGradients:
    """Return the weighted hinge of each triple, and its gradients: WARP (Weston et al., IJCAI 2011).

    Args:
        users: float [B, D].
        differences: float [B, D], factors of the item taken less those of one that comes too near.
        weights: float [B], what `rank_weights` gives.

    Returns:
        Losses [B], gradients [B, D] to the users and to the differences.
    """
    hinge = (1 - torch.linalg.vecdot(users, differences)).clamp(min=0)
    slope = (-weights * (hinge > 0))[:, None]
    return weights * hinge, slope * differences, slope * users


def sampled_softmax_loss(
    users: torch.Tensor,
    items: torch.Tensor,
    taken: tuple[torch.Tensor, torch.Tensor],
    known: tuple[torch.Tensor, torch.Tensor],
    log_weights: torch.Tensor,
) -> LossAndGradients:
    """Return -ln of each taken item's softmax probability among the batch's items, and its gradients.

    A user's other positives are no negatives. The batch holds popular items more often than rare ones; weights that
    undo this (the logQ correction of Yi et al., RecSys 2019) make the sum over the batch an estimate of the sum over
    all items, so that popularity is learned and not unlearned. Sampled softmax for ranking: Wu et al., TOIS 2024.

    Args:
        users: float [B, D], the batch's users, each once.
        items: float [M, D], the batch's items, each once.
        taken: (row of ``users``, row of ``items``) of the n positives that are learned from, int64 [n] each.
        known: the same of everything that must not count as a negative, those of ``taken`` among it.
        log_weights: float [M], log of how often each item is there, over how often it is expected to be.

    Returns:
        Losses [n], gradients [B, D] and [M, D].
    """
    rows, columns = taken
    scores = users @ items.T
    own = scores[rows, columns]
    negatives = (scores + log_weights).index_put_(known, scores.new_tensor(-torch.inf))
    log_mass = negatives.logsumexp(1)
    log_total = torch.logaddexp(own, log_mass[rows])
    missing = torch.exp(log_mass[rows] - log_total)  # the probability that is not the taken item's
    per_user = torch.zeros_like(log_mass).index_add_(0, rows, missing)
    slopes = torch.exp(negatives - log_mass.clamp(min=-1e30)[:, None]) * per_user[:, None]
    slopes.index_put_(taken, -missing, accumulate=True)
    return log_total - own, slopes @ items, slopes.T @ users


def warp_loss(
    users: torch.Tensor,
    items: torch.Tensor,
    taken: tuple[torch.Tensor, torch.Tensor],
    known: tuple[torch.Tensor, torch.Tensor],
    n_items: int,
) -> LossAndGradients:
    """Return ln(1 + rank) times the mean hinge of the negatives that come within 1 of a taken item, and its gradients.

    WARP (Weston et al., IJCAI 2011) with all items of the batch for its trials: the rank is the share of the user's
    negatives in the batch that violate the margin, times ``n_items``; the mean over them is the expectation of the
    one that WARP draws. Arguments and results as `sampled_softmax_loss`.
    """
    rows, _ = taken
    scores = users @ items.T
    negative = torch.ones_like(scores, dtype=torch.bool).index_put_(known, scores.new_tensor(False, dtype=torch.bool))
    hinge = 1 - scores[taken][:, None] + scores[rows]
    violates = negative[rows] & (hinge > 0)
    count = violates.sum(1).clamp(min=1)
    share = violates.sum(1) / negative[rows].sum(1).clamp(min=1)
    weight = torch.log1p(share.to(scores.dtype) * (n_items - 1))
    slopes = violates * (weight / count)[:, None]
    to_scores = torch.zeros_like(scores).index_add_(0, rows, slopes)
    to_scores.index_put_(taken, -slopes.sum(1), accumulate=True)
    return (slopes * hinge).sum(1), to_scores @ items, to_scores.T @ users
