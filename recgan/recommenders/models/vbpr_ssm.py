"""`vbpr_ssm`: VBPR's scores learned with a sampled softmax."""

from __future__ import annotations

from recgan.config import VBPRSSMSettings
from recgan.recommenders.models.vbpr import VBPR

__all__ = ["VBPRSSM"]


class VBPRSSM(VBPR):
    """score(u, i) as in `vbpr`; a taken item is to be the likeliest among all items taken in its batch.

    Every item of a batch is a negative of all its users who have not taken it. Popular items are in a batch more often
    than others; this is corrected for (logQ; Yi et al., RecSys 2019), so that popularity is learned, into the explicit
    bias b_i. The loss bounds what stands at the top of the list (Wu et al., TOIS 2024), where BPR optimises the AUC.
    """

    name = "vbpr_ssm"
    settings_type = VBPRSSMSettings
    loss = "ssm"
