"""`dvbpr`: deep visual Bayesian personalised ranking, learned from pixels (Kang et al., ICDM 2017)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import nn

from recgan.config import DVBPRSettings
from recgan.device import resolve_device
from recgan.encoders import Encoder, load_encoder
from recgan.encoders.cnn_f import CNNF
from recgan.errors import DataError, SettingsError
from recgan.progress import Progress
from recgan.recommenders.data import ItemImages, TrainingData
from recgan.recommenders.models.factors import BiasedModel
from recgan.recommenders.models.popularity import log_popularity
from recgan.recommenders.models.visual import VisualRecommender
from recgan.recommenders.models.whitening import Whitening
from recgan.recommenders.training.end_to_end import EndToEndTrainer, see_all
from recgan.recommenders.training.validation import Validation

__all__ = ["DVBPR"]

_CNN_F_SIZE = 224
_NETWORK = "network."


class DVBPR(BiasedModel, VisualRecommender):
    """score(u, i) = t_u . Phi(image of i), and with ``item_bias`` + b_i + b' . Phi; Phi is learned with the users.

    Phi is the paper's CNN-F from scratch (``backbone="cnn_f"``), or a pretrained encoder that is tuned on: its features
    whitened, then a linear head that starts as the identity. The user's vector is [1, t_u], the item's
    [b_i + b' . Phi, Phi]. Items without a training interaction share one b_i, chosen by validation.
    """

    name = "dvbpr"
    settings_type = DVBPRSettings
    settings: DVBPRSettings
    end_to_end = True
    resumable = True

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        s, images = self.settings, data.images
        if images is None:
            raise DataError("'dvbpr' needs images: it learns from pixels; give those of the bundle to training_data")
        if s.features not in ("real", "permuted"):
            raise SettingsError(f"'dvbpr' looks at pixels: it has no control '{s.features}'; use permuted")
        if s.features == "permuted":
            images = images.permuted(np.random.default_rng([seed, 11]))
        target = resolve_device(device)
        encoder = _network(s, torch.Generator().manual_seed(seed)).to(target).to(memory_format=torch.channels_last)
        looked = None if s.backbone == "cnn_f" else _start_whitened(encoder, images, progress)
        counts = np.append(data.item_counts, 0)
        prior = np.zeros(len(counts), np.float32)
        if s.item_bias:
            prior = log_popularity(counts, np.append(data.candidates, False))
        self._cold_bias = float(prior[-1]) if s.cold_bias is None else s.cold_bias
        prior[counts == 0] = self._cold_bias
        trainer = EndToEndTrainer(data, images, encoder, looked, prior[:-1], s, seed, target)
        validation = Validation(data, s.criterion)
        learned, self.metrics = trainer.run(validation, progress, self._checkpoints)
        self.user_factors, self.item_factors, self._visual_bias = learned.users, learned.items, learned.visual_bias
        self._keep(encoder)
        self._complete(data, validation, choose=s.item_bias and s.cold_bias is None)
        self.item_features = self.item_factors[:, 1:].astype(np.float16)
        # Phi needs no whitening; a control's pictures are not its items'.
        self.whitening = _identity(encoder.dim) if s.features == "real" else None
        self.facts |= {
            "encoder": f"dvbpr:{s.backbone}",
            "encoder_digest": self._encoder.digest,
            "size": images.size,
            "transform": images.transform,
            "features": s.features,
        }

    def notes(self) -> list[str]:
        """Also where it was shown less than it could see."""
        side, shown = self._encoder.input_size, self.facts["size"]
        enlarged = f"it was shown pictures of {shown} px, enlarged to {side}; --size {side} shows it more"
        return [*super().notes(), *([enlarged] if shown < side else [])]

    def _keep(self, encoder: Encoder) -> None:
        """Take Phi, whose weights are now what they will be, as the model's encoder."""
        self._encoder = _prepared_like(encoder, encoder.body.cpu(), encoder.dim)

    def load_encoder(self, device: str = "auto") -> Encoder:
        """Return Phi, which the model holds itself."""
        return copy.deepcopy(self._encoder).to(resolve_device(device)).to(memory_format=torch.channels_last)

    def factors_from(self, features: torch.Tensor, categories: torch.Tensor | None = None) -> torch.Tensor:
        """Return [b_cold + b' . Phi, Phi] for each row Phi."""
        visual_bias = torch.as_tensor(self._visual_bias, device=features.device)
        return torch.cat([(self._cold_bias + features @ visual_bias)[:, None], features], dim=1)

    @property
    def _softmax(self) -> bool:
        return self.settings.loss == "ssm"

    def _penalties(self) -> np.ndarray:
        return np.append(np.inf, np.full(self._encoder.dim, self.settings.user_regularisation))

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Of the bias, b' . Phi is visual; and so is the rest."""
        factors = self.item_factors[rows].astype(np.float64)
        bias, visual_bias = np.zeros_like(factors), np.zeros_like(factors)
        visual_bias[:, 0] = factors[:, 1:] @ self._visual_bias
        bias[:, 0] = factors[:, 0] - visual_bias[:, 0]
        factors[:, 0] = 0
        return {"popularity": bias, "visual bias": visual_bias, "visual": factors}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        network = {_NETWORK + key: value.numpy() for key, value in self._encoder.body.state_dict().items()}
        return {**super().tensors(), **network, "visual_bias": self._visual_bias}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        encoder = _network(self.settings, None)
        encoder.body.load_state_dict(
            {key: torch.from_numpy(tensors[_NETWORK + key]) for key in encoder.body.state_dict()}
        )
        self._keep(encoder)
        self._visual_bias = tensors["visual_bias"]
        super().restore(user_ids, items, tensors)


def _network(settings: DVBPRSettings, generator: torch.Generator | None) -> Encoder:
    """Return Phi as it starts, a trunk and a head: CNN-F with weights drawn from ``generator`` and a head that does
    nothing, or a pretrained encoder with its whitening."""
    dim = settings.dim
    if settings.backbone == "cnn_f":
        size = settings.input_size or _CNN_F_SIZE
        network = CNNF(dim, size=size, hidden=settings.hidden)
        if generator is not None:
            network.initialise(generator)
        body = nn.Sequential(network, nn.Identity())
        return Encoder("dvbpr:cnn_f", body, dim=dim, input_size=size, mean=(0.5,) * 3, std=(0.5,) * 3)
    base = load_encoder(settings.backbone, "cpu")
    head = nn.Linear(dim, dim, bias=False)
    nn.init.eye_(head.weight)
    body = nn.Sequential(nn.Sequential(base.body, nn.Linear(base.dim, dim)), head)
    name = f"dvbpr:{settings.backbone}"
    return _prepared_like(base, body, dim, name=name, input_size=settings.input_size, tuned_from=base.eye)


def _prepared_like(
    frame: Encoder,
    body: nn.Module,
    dim: int,
    *,
    name: str | None = None,
    input_size: int | None = None,
    tuned_from: str | None = None,
) -> Encoder:
    """Return ``body`` as an encoder that prepares its pictures as ``frame`` does, and is tuned on from what that is."""
    return Encoder(
        name or frame.name,
        body,
        dim=dim,
        input_size=input_size or frame.input_size,
        mean=((frame.mean + 1) / 2).flatten().tolist(),
        std=(frame.std / 2).flatten().tolist(),
        tuned_from=tuned_from or frame.tuned_from,
    )


def _start_whitened(encoder: Encoder, images: ItemImages, progress: Progress) -> np.ndarray:
    """Let the trunk that `_network` made end in the whitening of its features; return what it sees of all items,
    float32 [n_items, dim]."""
    base, layer = encoder.body[0]  # type: ignore[index]
    plain = _prepared_like(encoder, base, layer.in_features).to(encoder.mean.device)
    features = see_all(plain, images, progress)
    whitening = Whitening.fit(features, encoder.dim, images.rows >= 0, power=0.5)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[: whitening.width].copy_(torch.from_numpy(whitening.matrix.T))
        layer.bias[: whitening.width].copy_(torch.from_numpy(-whitening.mean @ whitening.matrix))
    looked = np.zeros((len(features), encoder.dim), dtype=np.float32)
    looked[:, : whitening.width] = whitening.apply(features)
    return looked


def _identity(dim: int) -> Whitening:
    return Whitening(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))
