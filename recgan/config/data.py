"""Settings of imports, splits, simulated users and features."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from recgan.config.base import Settings

__all__ = ["EmbedSettings", "ImportOptions", "SimulateSettings", "SplitSettings"]


class ImportOptions(Settings):
    """Where an importer finds things in a source (`recgan.dataset.importers`).

    A relative path is looked up beside the source first, then in the working directory. An importer refuses an option
    that it has no use for.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)  # a column may be called 123

    name: str | None = None
    """The data set's name; None: the source's own."""
    licence: str | None = None
    """Under what licence the data may be used; None: what is known of the source."""
    items: str | None = None
    """Items table, CSV (``.csv``, ``.tsv``, ``.gz``) or Parquet; None: ``items.*`` beside the images, where there is
    one, or else every image is an item and its folder the category."""
    interactions: str | None = None
    """Interactions table; None: ``interactions.*`` beside the images, where there is one."""
    images: str | None = None
    """Folder or zip of the images; None: ``images.zip`` or ``images/`` beside the tables, or else the source itself."""
    item_id_column: str = "item_id"
    interactions_item_id_column: str | None = None
    """None: ``item_id_column``, or else ``item_id``."""
    category_column: str | None = None
    """None: ``category``, or the data set's usual one."""
    default_category: str | None = None
    """Category of the items that have none; None: they are refused."""
    category_names: tuple[str, ...] = ()
    """Names of numbered classes, in order (``dvbpr-npy``); none: ``class 0``, ``class 1``, …"""
    image_column: str | None = None
    """Column of the items that lists image files, separated by ``|`` or ``;``; None: they are found by name."""
    image_pattern: str | None = None
    """How image files are named, such as ``{item_id}_*.jpg`` or ``{category}/{item_id}/*``; None: by the item's id in
    the file's or its folder's name."""
    available_column: str | None = None
    """Column that says whether an item can be had (true/false, yes/no, 1/0); None: ``available``, if there is one."""
    user_id_column: str = "user_id"
    timestamp_column: str | None = None
    """None: ``timestamp``, where there is one."""
    timestamp_format: str | None = None
    """As strptime takes it (``%d/%m/%Y``); None: ISO 8601, YYYYMMDD, or seconds (milli-, micro-, nano-) since 1970."""
    event_column: str | None = None
    """None: ``event``, where there is one."""
    default_event: str = "interaction"
    """The event of interactions that name none; ``rating`` makes weights under 4 no sign of liking."""
    weight_column: str | None = None
    """None: ``weight``, where there is one."""
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    """Of CSV files; None: what the header line shows (comma, semicolon, tab, bar)."""
    encoding: str | None = None
    """Of CSV files; None: UTF-8, or what a byte-order mark says."""
    since: datetime.date | None = None
    """Leave out interactions before this day."""
    core: int = Field(1, ge=1)
    """Leave out users and items with fewer interactions, again and again until each has so many with the others (the
    k-core; ``renttherunway``)."""
    limit: int | None = Field(None, ge=1)
    """Take the first so many items only: for a trial."""


class SplitSettings(Settings):
    """How interactions are divided into train, validation and test."""

    protocol: Literal["leave_one_out", "global_time", "given", "all"] = "leave_one_out"
    """``leave_one_out``: one validation and one test interaction a user; ``global_time``: by date; ``given``: the
    split that came with the data; ``all``: everything is training data (production)."""
    seed: int = 0
    """Chooses the cold items and, where there are no times, the held-out interactions."""
    cold_share: float = Field(0.1, ge=0, lt=1)
    """Share of the items whose training interactions are withheld, so that they are cold (not with a given split)."""
    min_interactions: int = Field(3, ge=3)
    """Users with fewer positive interactions stay wholly in train (leave-one-out needs three)."""
    validation_share: float = Field(0.1, gt=0, lt=0.5)
    """Global time only: share of the interactions, by date, just before the test period."""
    test_share: float = Field(0.1, gt=0, lt=0.5)
    """Global time only: share of the latest interactions."""
    half: Literal["both", "scorer", "judge"] = "both"
    """Of each user's training interactions, for the proof of designs (`recgan evaluate designs`): the recommender that
    designs learns from the ``scorer``'s half, and another one, from the ``judge``'s, says what the designs are worth.
    No interaction is in both. ``scorer`` chooses its settings by the validation part, ``judge`` by the test part."""
    negative_events: tuple[str, ...] = ("dislike", "return")
    """Events that are no sign of liking, and take back an earlier one: a purchase that was returned does not count."""
    min_rating: float = 4.0
    """A ``rating`` event counts as positive from this weight (of 5) on."""


class SimulateSettings(Settings):
    """Simulated users with a known taste (`recgan.dataset.simulate`)."""

    users: int = Field(2000, ge=1)
    interactions: int = Field(40000, ge=1)
    seed: int = 0
    ideals: Literal["held_out", "random"] = "held_out"
    """Whence a user's ideal point: the style of a held-out real item, or a random draw."""
    preset: Literal["taste-v1"] = "taste-v1"
    """The frozen constants of the taste model."""


class EmbedSettings(Settings):
    """How images become features."""

    encoder: str = "efficientnet_lite0"
    """A name registered in `recgan.encoders`."""
    size: int = Field(64, ge=16, le=512)
    """Side in pixels of the letterboxed uint8 image that the encoder is shown (it resizes by itself). The designer
    needs the generator's size here, so that designs and real items are seen through the same pixels."""
    batch_size: int = Field(64, ge=1)
