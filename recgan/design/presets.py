"""The designer's named settings.

`default` is ours. `kang2017` is the preference maximisation of Kang et al. 2017 as their released code does it:
the user's raw preference less eta (D - 1)^2 with eta 1, 16 starts z ~ N(0, 0.5^2), all of them climbed by Adam at
0.05 for 10 steps, z unconstrained. Two things differ from that code and are ours: the encoder resizes by itself
(antialiased bilinear, where they repeat pixels from 64 to 224), and the one design kept of 16 starts is the one of the
highest objective. A discriminator that was not trained by least squares is brought to mean 1 and standard deviation 1
over real images first (`recgan.config.DesignSettings.realism`).
"""

from __future__ import annotations

from recgan.config import DesignSettings
from recgan.errors import NotFoundError, nearest_name

__all__ = ["PRESETS", "load_preset"]

PRESETS: dict[str, DesignSettings] = {
    settings.preset: settings
    for settings in (
        DesignSettings(),
        DesignSettings(
            preset="kang2017",
            samples=16,
            starts=16,
            steps=10,
            learning_rate=0.05,
            keep="last",
            visible=False,
            latent_std=0.5,
            crowd_weight=0.0,
            companions=False,
            preference="raw",
            realism="least_squares",
            realism_weight=1.0,
            prior_weight=0.0,
        ),
    )
}


def load_preset(name: str) -> DesignSettings:
    """Return the settings registered as ``name``.

    Raises:
        NotFoundError: there is no such preset.
    """
    if name not in PRESETS:
        hint = nearest_name(name, PRESETS) or f"; there are: {', '.join(PRESETS)}"
        raise NotFoundError(f"there is no design preset '{name}'{hint}")
    return PRESETS[name]
