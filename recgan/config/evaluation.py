"""Settings of evaluations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recgan.config.base import Settings

__all__ = ["GenerativeSettings", "ProofSettings"]


class GenerativeSettings(Settings):
    """How a generator is judged (`recgan.evaluation.generative`)."""

    samples: int = Field(2000, ge=50, le=10_000)
    """Samples, and as many test photos of the same classes; fewer where there are fewer test photos."""
    extractor: str = "efficientnet_lite0"
    """The encoder that compares them: not the one by which training chooses its checkpoint (`MonitorSettings`)."""
    extractor_size: int = Field(128, ge=8)
    """Side in pixels at which it sees them."""
    neighbours: int = Field(5, ge=1, lt=50)
    """k of precision, recall, density and coverage."""
    classifier_images: int = Field(10_000, ge=50)
    """Training photos that the classifier learns from, and samples that its twin learns from; fewer where there are
    fewer training photos."""
    classifier_size: int = Field(32, ge=16)
    """Side in pixels at which they see (the generator's own where that is smaller)."""
    classifier_epochs: int = Field(8, ge=1)
    resamples: int = Field(1000, ge=100)
    """Of the bootstrap."""
    published: bool = False
    """Also FID, Inception Score and LPIPS with their published networks, by torch-fidelity."""


class ProofSettings(Settings):
    """How designs are judged (`recgan.evaluation.designs`)."""

    designs: int = Field(2, ge=1, le=64)
    """Designs a user, by each method."""
    judge_model: Literal["ideal_point", "vbpr", "vbpr_ssm", "visual_knn", "blend"] = "ideal_point"
    """Judge B."""
    judge_encoder: str = "efficientnet_lite2"
    """What judge B looks through; it must not be the scorer's network."""
    pairs: int = Field(100, ge=2)
    """Pairs of real photos of a category that say how different its pictures usually look."""
    reader_images: int = Field(10_000, ge=50)
    """Training photos that the reader of category and attributes learns from."""
    reader_size: int = Field(32, ge=16)
    """Side in pixels at which it sees (the generator's own where that is smaller)."""
    reader_epochs: int = Field(8, ge=1)
