"""FID, Inception Score and LPIPS with the networks that they were published with, by torch-fidelity (an extra)."""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torch.utils.data import Dataset

from recgan.device import torch_threads
from recgan.errors import NotFoundError

__all__ = ["PublishedMeasures"]

_BATCH = 32
_SPLITS = 10


class PublishedMeasures:
    """Inception v3 and VGG16 as torch-fidelity has them; their weights are downloaded once, into torch's cache."""

    def __init__(self, device: torch.device) -> None:
        """Load the networks.

        Raises:
            NotFoundError: torch-fidelity is not installed, or the weights cannot be downloaded.
        """
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
            from torch_fidelity.sample_similarity_lpips import SampleSimilarityLPIPS
        except ImportError as error:
            raise NotFoundError(
                f"the published measures need a package that is not installed ({error.name}); "
                "run: pip install 'recgan[fidelity]', or leave out --published"
            ) from error
        self._device = device
        try:
            # Loaded here so that missing weights are told before the work; torch-fidelity finds them in the cache.
            FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
            self._lpips = SampleSimilarityLPIPS("lpips-vgg16").to(device)
        except (URLError, OSError) as error:
            raise NotFoundError(
                f"the weights of the published measures cannot be downloaded ({error}); run once with a network, or "
                "leave out --published"
            ) from error

    def compare(self, fake: np.ndarray, real: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
        """Return FID, and the Inception Score with its spread over splits, of pictures uint8 [n, S, S, 3].

        FID is biased by n, and Inception Score knows ImageNet's classes: state both beside them.
        """
        from torch_fidelity import calculate_metrics

        splits = min(_SPLITS, len(fake))
        with torch_threads():
            found = calculate_metrics(
                input1=_Pictures(fake),
                input2=_Pictures(real),
                fid=True,
                isc=True,
                isc_splits=splits,
                rng_seed=seed,
                batch_size=_BATCH,
                cuda=self._device.type == "cuda",
                cache=False,
                save_cpu_ram=True,
                verbose=False,
            )
        return {
            "fid": found["frechet_inception_distance"],
            "inception_score": found["inception_score_mean"],
            "inception_score_spread": found["inception_score_std"],
            "splits": splits,
            "extractor": "inception-v3-compat of torch-fidelity",
            "lpips": "vgg16 of torch-fidelity",
        }

    def lpips(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the learnt perceptual distances of pairs of pictures uint8 [N, S, S, 3], float64 [N]."""
        found = np.empty(len(left))
        with torch.inference_mode(), torch_threads():
            for start in range(0, len(left), _BATCH):
                part = slice(start, start + _BATCH)
                one, other = (_channels_first(side[part]).to(self._device) for side in (left, right))
                found[part] = self._lpips(one, other).double().cpu().numpy()
        return found


class _Pictures(Dataset[torch.Tensor]):
    def __init__(self, pictures: np.ndarray) -> None:
        self._pictures = _channels_first(pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._pictures[index]


def _channels_first(pictures: np.ndarray) -> torch.Tensor:
    return torch.tensor(pictures).permute(0, 3, 1, 2).contiguous()
