"""The parameters that the factor models share, and the steps that move them.

Inside, a user is [g_u, 1, t_u] and an item [g_i, b_i + b'.f_i, E f_i]: the first columns of an item are its own row of
a table, the last ones come from its features f_i, and the bias has a share in both. So each loss is one function of
users' and items' factors, each table is touched once a step, and only in the rows of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from recgan.config import FactorSettings
from recgan.recommenders.training.losses import pairwise_loss, ranked_hinge_loss, sampled_softmax_loss
from recgan.recommenders.training.sampler import Batch

__all__ = ["Learned", "Parameters", "VisualPart"]

_EPSILON = 1e-16
_CHUNK = 1 << 16


@dataclass(frozen=True)
class VisualPart:
    """How a trainer learns from features."""

    features: np.ndarray
    """float16 [n_items, width]; may be a memory map, of which a batch reads its own rows."""
    dim: int
    """Length of t."""
    learning_rate: float
    std: float
    user_regularisation: float
    projection_regularisation: float


@dataclass(frozen=True)
class Learned:
    """The parameters of the best epoch, float32."""

    users: np.ndarray
    """[n_users, 1 + latent + visual]: 1, g_u, t_u."""
    item_latent: np.ndarray
    """[n_items, latent]: g_i."""
    item_bias: np.ndarray
    """[n_items]: b_i."""
    projection: np.ndarray
    """[width, visual]: E."""
    visual_bias: np.ndarray
    """[width]: b'."""

    def items(self, features: np.ndarray | None) -> np.ndarray:
        """Return the item factors [n_items, 1 + latent + visual]: b_i + b'.f_i, g_i, E f_i."""
        columns = [self.item_bias[:, None], self.item_latent]
        if features is None:
            return np.concatenate(columns, axis=1)
        out = np.empty((len(self.item_bias), self.users.shape[1]), dtype=np.float32)
        for start in range(0, len(out), _CHUNK):
            part = slice(start, start + _CHUNK)
            seen = np.asarray(features[part], dtype=np.float32)
            bias = self.item_bias[part] + seen @ self.visual_bias
            out[part] = np.concatenate([bias[:, None], self.item_latent[part], seen @ self.projection], axis=1)
        return out


class Parameters:
    """Tables of users, items and what projects features, with Adagrad's state, which keeps rows that are rarely drawn
    moving.

    A step costs the same whatever the number of users and items. On a CPU the same generator gives the same bits.
    """

    def __init__(
        self,
        n_users: int,
        item_counts: np.ndarray,
        prior: np.ndarray,
        settings: FactorSettings,
        visual: VisualPart | None,
        generator: torch.Generator,
    ) -> None:
        """Draw the start.

        Args:
            n_users: number of users.
            item_counts: int [n_items], users in train who took each item; those that nobody took start without g.
            prior: float32 [n_items], the biases that training starts at and is pulled towards.
            settings: of the latent part.
            visual: None for a model without eyes.
            generator: of the start; the tables lie on its device.
        """
        self.device, self.latent_dim, self.visual = generator.device, settings.latent_dim, visual
        s, latent, device = settings, settings.latent_dim, generator.device

        def normal(std: float, *shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator, device=device) * std

        self.features = None
        user_table = [normal(s.latent_std, n_users, latent), torch.ones(n_users, 1, device=device)]
        item_latent = normal(s.latent_std, len(item_counts), latent)
        item_latent[torch.from_numpy(item_counts == 0).to(device)] = 0
        self.prior = torch.from_numpy(prior).to(device)
        self.tables = {"item": torch.cat([item_latent, self.prior[:, None]], dim=1)}
        dim, rate, pull = 0, 0.0, 0.0
        if (v := visual) is not None:
            dim, rate, pull = v.dim, v.learning_rate, v.user_regularisation
            self.features = torch.from_numpy(v.features)
            user_table.append(normal(v.std, n_users, dim))
            width = v.features.shape[1]
            self.tables["projection"] = torch.cat(
                [torch.zeros(width, 1, device=device), normal(v.std, width, dim)], dim=1
            )
        self.tables["user"] = torch.cat(user_table, dim=1)
        self.squares = {name: torch.zeros_like(table) for name, table in self.tables.items()}

        def columns(*parts: tuple[float, int]) -> torch.Tensor:
            return torch.tensor([value for value, count in parts for _ in range(count)], device=device)

        self.rates = {
            "user": columns((s.learning_rate, latent), (0.0, 1), (rate, dim)),
            "item": columns((s.learning_rate, latent + 1)),
        }
        self.pulls = {
            "user": columns((s.latent_regularisation, latent), (0.0, 1), (pull, dim)),
            "item": columns((s.latent_regularisation, latent), (s.bias_regularisation, 1)),
        }
        self._compiled: Callable[..., float] | None = None

    def compile(self) -> None:
        """Have the pairwise steps done by compiled code; on a CPU only."""
        from recgan.recommenders.training.kernels import pairwise_step, pairwise_steps

        self._compiled, self._compiled_many = pairwise_step, pairwise_steps
        for name in ("user", "item"):
            self.tables[name], self.squares[name] = _in_large_pages(self.tables[name], self.squares[name])
        state = (self.tables, self.squares, self.rates, self.pulls)
        self._arrays = [each[name].numpy() for name in ("user", "item") for each in state] + [self.prior.numpy()]

    @property
    def largest(self) -> float:
        """The largest absolute value of all tables."""
        return max(float(table.abs().max()) for table in self.tables.values())

    def learned(self) -> Learned:
        """Return a copy of the parameters as they are."""
        latent = self.latent_dim
        tables = {name: table.cpu().numpy() for name, table in self.tables.items()}
        user, item = tables["user"], tables["item"]
        projection = tables.get("projection", np.zeros((0, 1), np.float32))
        users = np.concatenate([user[:, latent : latent + 1], user[:, :latent], user[:, latent + 1 :]], axis=1)
        return Learned(
            users, item[:, :-1].copy(), item[:, -1].copy(), projection[:, 1:].copy(), projection[:, 0].copy()
        )

    def state(self) -> dict[str, np.ndarray]:
        """Return all that the next steps depend on."""
        return {
            **{f"table.{name}": table.cpu().numpy() for name, table in self.tables.items()},
            **{f"squares.{name}": table.cpu().numpy() for name, table in self.squares.items()},
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state` returned; other entries are passed over."""
        for name, table in self.tables.items():
            table.copy_(torch.from_numpy(state[f"table.{name}"]))
            self.squares[name].copy_(torch.from_numpy(state[f"squares.{name}"]))

    def scores(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Return the scores float32 [B, N] of items int64 [B, N] for users int64 [B]."""
        rows = items.flatten()
        item = self._factors(self.tables["item"].index_select(0, rows), self._features_of(rows))
        user = self.tables["user"].index_select(0, users)
        return (item.view(*items.shape, -1) @ user[:, :, None])[:, :, 0]

    def pairwise_steps(self, users: torch.Tensor, better: torch.Tensor, worse: torch.Tensor, batch_size: int) -> float:
        """Do `pairwise_step` on one batch of triples int64 [n] after the other; return the sum of their losses."""
        if self._compiled is not None and self.features is None:
            return self._compiled_many(*(one.numpy() for one in (users, better, worse)), batch_size, *self._arrays)
        batches = zip(*(one.split(batch_size) for one in (users, better, worse)))
        return sum(self.pairwise_step(*batch) for batch in batches)

    def pairwise_step(
        self, users: torch.Tensor, better: torch.Tensor, worse: torch.Tensor, weights: torch.Tensor | None = None
    ) -> float:
        """Do a step on triples (user, taken item, item not taken), int64 [B] each; return the sum of their losses.

        With ``weights`` float32 [B] the loss is `ranked_hinge_loss`, else `pairwise_loss`.
        """
        count, seen = len(users), self._features_of(better)
        if seen is not None and (of_worse := self._features_of(worse)) is not None:
            seen -= of_worse
        if self._compiled is not None:
            visual = torch.empty(count, 0) if seen is None else seen @ self.tables["projection"]
            weights = torch.empty(0) if weights is None else weights
            loss = self._compiled(*(one.numpy() for one in (users, better, worse, weights, visual)), *self._arrays)
            self._step_projection(seen, visual, count)
            return loss
        rows = torch.cat([better, worse])
        user, item = self.tables["user"].index_select(0, users), self.tables["item"].index_select(0, rows)
        differences = self._factors(item[:count] - item[count:], seen)
        if weights is None:
            losses, to_user, to_item = pairwise_loss(user, differences)
        else:
            losses, to_user, to_item = ranked_hinge_loss(user, differences, weights)
        own = to_item[:, : item.shape[1]]
        self._step_projection(seen, to_item[:, self.latent_dim :], count)
        self._step_rows("item", rows, torch.cat([own, -own]), self._from_rest(item, rows))
        self._step_rows("user", users, to_user, user)
        return float(losses.sum())

    def softmax_step(self, batch: Batch) -> float:
        """Do a step on pairs by `sampled_softmax_loss`; return the sum of their losses."""
        user, item = (self.tables[name].index_select(0, rows) for name, rows in zip(("user", "item"), batch[:2]))
        seen = self._features_of(batch.items)
        losses, to_user, to_item = sampled_softmax_loss(
            user, self._factors(item, seen), batch.taken, batch.known, batch.log_weights
        )
        self._step_projection(seen, to_item[:, self.latent_dim :], len(batch.taken[0]))
        self._step_rows("item", batch.items, to_item[:, : item.shape[1]], self._from_rest(item, batch.items))
        self._step_rows("user", batch.users, to_user, user)
        return float(losses.sum())

    def _from_rest(self, item: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Turn rows of the items' table, in place, into how far they are from where regularisation pulls them."""
        item[:, -1] -= self.prior.index_select(0, rows)
        return item

    def _features_of(self, rows: torch.Tensor) -> torch.Tensor | None:
        if self.features is None:
            return None
        return self.features.index_select(0, rows.to(self.features.device)).to(self.device, torch.float32)

    def _factors(self, item: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """Return the whole factors of items from their rows of the table and their features."""
        if seen is None:
            return item
        visual = seen @ self.tables["projection"]
        return torch.cat([item[:, :-1], item[:, -1:] + visual[:, :1], visual[:, 1:]], dim=1)

    def _step_projection(self, seen: torch.Tensor | None, to_visual: torch.Tensor, count: int) -> None:
        if seen is None or self.visual is None:
            return
        table, squares = self.tables["projection"], self.squares["projection"]
        gradient = seen.T @ to_visual / count
        gradient += self.visual.projection_regularisation * table
        squares += gradient * gradient
        table -= self.visual.learning_rate * gradient * (squares + _EPSILON).rsqrt()

    def _step_rows(self, name: str, rows: torch.Tensor, gradient: torch.Tensor, value: torch.Tensor) -> None:
        """Move the rows of a table against the gradient and, by L2, against ``value`` (how far from rest they are)."""
        gradient = torch.addcmul(gradient, self.pulls[name], value)
        squares = self.squares[name]
        squares.index_add_(0, rows, gradient * gradient)
        scale = squares.index_select(0, rows).add_(_EPSILON).rsqrt_().mul_(self.rates[name])
        self.tables[name].index_add_(0, rows, gradient.mul_(scale), alpha=-1)


def _in_large_pages(*tables: torch.Tensor) -> list[torch.Tensor]:
    """Return copies in memory that numpy asks for: it takes large pages, so that rows all over a table are found
    without a walk through many small ones."""
    copies = [np.empty(table.shape, dtype=np.float32) for table in tables]
    for copy, table in zip(copies, tables):
        copy[...] = table.numpy()
    return [torch.from_numpy(copy) for copy in copies]
