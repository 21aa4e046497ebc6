"""How a network is told the class: one-hot or embedded labels, joined to a vector or to feature maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["join_maps", "join_vector", "one_hot"]


def one_hot(class_index: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return labels as float32 [N, n_classes] from class indices int64 [N]."""
    return F.one_hot(class_index, n_classes).float()


def join_vector(vector: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Join a label [N, k] to a vector [N, d]: [N, d + k]."""
    return torch.cat([vector, label], dim=1)


def join_maps(maps: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Join a label [N, k] to feature maps [N, c, H, W] as k further constant maps: [N, c + k, H, W]."""
    return torch.cat([maps, label[:, :, None, None].expand(-1, -1, *maps.shape[2:])], dim=1)
