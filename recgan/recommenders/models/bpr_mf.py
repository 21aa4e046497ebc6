"""`bpr_mf`: matrix factorisation with the BPR loss, by the trainer of `vbpr`, so that what pictures add is isolated."""

from __future__ import annotations

import numpy as np

from recgan.config import BPRMFSettings
from recgan.recommenders.models.factors import FactorModel

__all__ = ["BPRMF"]


class BPRMF(FactorModel):
    """score(u, i) = b_i + g_u . g_i (Rendle et al., UAI 2009), learned from triples (user, taken, not taken)."""

    name = "bpr_mf"
    settings_type = BPRMFSettings
    settings: BPRMFSettings

    @property
    def similarity_space(self) -> str:
        """`similar` measures between item factors, without the bias."""
        return "factors"

    def _similarity_vectors(self) -> np.ndarray:
        return self.item_factors[:, 1:]
