"""`warp`: matrix factorisation with the WARP loss (Weston et al., IJCAI 2011); image-free."""

from __future__ import annotations

import numpy as np

from recgan.config import WARPSettings
from recgan.recommenders.models.bpr_mf import BPRMF

__all__ = ["WARP"]


class WARP(BPRMF):
    """score(u, i) = b_i + g_u . g_i as in `bpr_mf`; a taken item is to score 1 above others, those near the top first.

    For each pair items are drawn until one comes within 1 of the taken one, ten at most; it is pushed down the harder,
    the sooner it was found, since then there must be many like it.
    """

    name = "warp"
    settings_type = WARPSettings
    loss = "warp"

    def _penalties(self) -> np.ndarray:
        # New users are folded in by BPR, whose pairs weigh 1; those of WARP weigh up to this.
        return super()._penalties() / np.log1p(np.count_nonzero(self._warm))
