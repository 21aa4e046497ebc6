"""The parameters of a model that learns to see, and the steps that move them.

A user is [1, t_u] and an item [b_i + b'.Phi_i, Phi_i]; Phi is a network, a trunk and a head. Adam moves the network,
its lazy sparse kind the users and biases of a batch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch

from recgan.config import DVBPRSettings
from recgan.encoders import Encoder

__all__ = ["LearnedToSee", "SeeingParameters"]

_TABLES = {"user_table": "users", "bias": "bias", "visual_bias": "visual_bias"}
"""What a `state` calls the tables."""


@dataclass(frozen=True, eq=False)
class LearnedToSee:
    """The parameters of the best epoch; the network is in the encoder that was trained."""

    users: np.ndarray
    """float32 [n_users, 1 + dim]: 1, t_u."""
    items: np.ndarray
    """float32 [n_items, 1 + dim]: b_i + b'.Phi, Phi."""
    visual_bias: np.ndarray
    """float32 [dim]: b'; zeros where items have no bias."""


class SeeingParameters:
    """Users' table, the items' biases and Phi, and their optimisers."""

    def __init__(
        self,
        n_users: int,
        encoder: Encoder,
        bias: np.ndarray,
        settings: DVBPRSettings,
        pretrained: bool,
        generator: torch.Generator,
    ) -> None:
        """Prepare.

        Args:
            n_users: rows of the users' table, which ``generator`` draws.
            encoder: Phi, its body being trunk and head; trained in place, on its device.
            bias: float32 [n_items] where the items' biases start; they stay there if the model has none.
            settings: the model's.
            pretrained: the network is drawn to where it starts from, not to 0.
            generator: of the users' start.
        """
        self.encoder, self.settings = encoder, settings
        trunk, self.head = encoder.body.children()
        self.network = [*trunk.parameters(), *self.head.parameters()]
        self.anchors = [parameter.detach().clone() for parameter in self.network] if pretrained else None
        device = self.network[0].device
        # Kang et al. as released: t_u ~ U(0, 0.01).
        start = torch.rand(n_users, encoder.dim, generator=generator) * 0.01
        self.users = start.to(device).requires_grad_(True)
        self.bias = torch.from_numpy(bias).to(device).requires_grad_(True)
        self.prior = self.bias.detach().clone()
        self.visual_bias = torch.zeros(encoder.dim, device=device)
        tables = [self.users, *([self.bias] if settings.item_bias else [])]
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "tables": torch.optim.SparseAdam(tables, lr=settings.factor_learning_rate),
            "network": torch.optim.Adam(
                [
                    {"params": list(trunk.parameters()), "lr": settings.learning_rate},
                    {"params": list(self.head.parameters()), "lr": settings.head_learning_rate},
                    {"params": [self.visual_bias], "lr": settings.head_learning_rate},
                ]
            ),
        }

    def move_all(self) -> None:
        """From now on the network moves as a whole; a pretrained one with its head, at one rate."""
        if self.anchors is not None:
            for group in self.optimisers["network"].param_groups:
                group["lr"] = self.settings.learning_rate

    def factors(
        self, users: torch.Tensor, items: torch.Tensor, looks: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the factors of users' [U] and items' [M] rows, which look like Phi [M, dim]; [U or M, 1 + dim]."""
        own = self.users.detach()[users]
        seen = looks.detach()
        bias = self.bias.detach()[items] + seen @ self.visual_bias
        return torch.cat([torch.ones_like(own[:, :1]), own], dim=1), torch.cat([bias[:, None], seen], dim=1)

    def step(
        self,
        users: torch.Tensor,
        items: torch.Tensor,
        looks: torch.Tensor,
        to_users: torch.Tensor,
        to_items: torch.Tensor,
    ) -> None:
        """Move what a batch touches.

        Args:
            users: [U] rows.
            items: [M] rows.
            looks: [M, dim] Phi of the items, as `factors` was given it; its gradient goes back to the network.
            to_users: [U, 1 + dim] the loss's gradient to the users' factors.
            to_items: [M, 1 + dim] and to the items'.
        """
        s, seen, to_bias = self.settings, looks.detach(), to_items[:, 0]
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        own, bias = self.users.detach()[users], self.bias.detach()[items]
        self.users.grad = _sparse(users, to_users[:, 1:] + s.user_regularisation * own, self.users)
        if s.item_bias:
            self.bias.grad = _sparse(items, to_bias + s.bias_regularisation * (bias - self.prior[items]), self.bias)
            self.visual_bias.grad = to_bias @ seen
        self.optimisers["tables"].step()
        if looks.requires_grad:
            looks.backward(to_items[:, 1:] + torch.outer(to_bias, self.visual_bias))
        for place, parameter in enumerate(self.network):
            if parameter.grad is not None:
                away = parameter.detach() - self.anchors[place] if self.anchors else parameter.detach()
                parameter.grad.add_(away, alpha=s.network_regularisation)
        self.optimisers["network"].step()

    def learned(self, looks: np.ndarray) -> LearnedToSee:
        """Return the parameters as they are, where all items look like ``looks``, float32 [n_items, dim]."""
        users, bias = self.users.detach().cpu().numpy(), self.bias.detach().cpu().numpy()
        visual_bias = self.visual_bias.cpu().numpy().copy()
        items = np.concatenate([(bias + looks @ visual_bias)[:, None], looks], axis=1)
        return LearnedToSee(np.concatenate([np.ones_like(users[:, :1]), users], axis=1), items, visual_bias)

    def network_state(self) -> dict[str, torch.Tensor]:
        """Return a copy of the network's state."""
        return copy.deepcopy(self.encoder.body.state_dict())

    def state(self, best: LearnedToSee, best_network: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
        """Return all that the next steps depend on, and what was best so far, as `restore` takes it."""
        tensors = {
            **{name: getattr(self, own).detach() for name, own in _TABLES.items()},
            **{f"network.{name}": value for name, value in self.encoder.body.state_dict().items()},
            **{f"best_network.{name}": value for name, value in best_network.items()},
        }
        for name, optimiser in self.optimisers.items():
            for place, of_one in optimiser.state_dict()["state"].items():
                for key, value in of_one.items():
                    tensors[f"optimiser.{name}.{place}.{key}"] = torch.as_tensor(value)
        arrays = {name: np.ascontiguousarray(value.cpu().numpy()) for name, value in tensors.items()}
        return arrays | {f"best.{one.name}": getattr(best, one.name) for one in fields(LearnedToSee)}

    def restore(self, state: Mapping[str, np.ndarray]) -> tuple[LearnedToSee, dict[str, torch.Tensor]]:
        """Go on from a `state`; returns what was best so far, and its network."""
        with torch.no_grad():
            self.encoder.body.load_state_dict(_under(state, "network."))
            for name, own in _TABLES.items():
                getattr(self, own).copy_(torch.from_numpy(state[name]))
        for name, optimiser in self.optimisers.items():
            parameters = [one for group in optimiser.param_groups for one in group["params"]]
            for key, value in _under(state, f"optimiser.{name}.").items():
                place, what = key.split(".")
                parameter = parameters[int(place)]
                optimiser.state[parameter][what] = _steps(value) if what == "step" else _like(parameter, value)
        best = LearnedToSee(**{one.name: state[f"best.{one.name}"] for one in fields(LearnedToSee)})
        return best, _under(state, "best_network.")


def _sparse(rows: torch.Tensor, values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a table that is 0 but in ``rows``; rows that come twice are summed."""
    return torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=False).coalesce()


def _under(state: Mapping[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    """Return what is named after ``prefix``, by the rest of its name."""
    return {name.removeprefix(prefix): torch.tensor(a) for name, a in state.items() if name.startswith(prefix)}


def _like(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return what an optimiser remembers of a parameter, laid out as the parameter is."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _steps(value: torch.Tensor) -> torch.Tensor | int:
    """Return an optimiser's count of steps, a tensor of a float or a plain number as it was."""
    return value.reshape(()) if value.is_floating_point() else int(value)
