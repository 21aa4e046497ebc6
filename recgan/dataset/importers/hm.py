"""`hm`: H&M's articles (Kaggle, *H&M Personalized Fashion Recommendations*), with transactions or with co-purchases.

``articles.csv`` beside ``images/`` (Kaggle's ``images/011/0111565001.jpg`` too) or ``images.zip``. Where there is
``transactions_train.csv``, its customers are the users. Where there is ``copurchases.csv`` alone (item, copurchased,
weight), each seed article stands for a user who took the articles bought together with it: a *pseudo-user*.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from recgan.config import ImportOptions
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers.common import Source, find_file, need_file, table_of
from recgan.dataset.importers.matching import match_pictures
from recgan.dataset.importers.pictures import Gallery, open_pictures

__all__ = ["HM"]


class HM(Source):
    """Articles of a fashion chain, and what was bought, or bought together."""

    label = "hm"
    title = "H&M"
    licence = "Kaggle competition rules: research and education only"
    takes = frozenset({"category_column", "default_category", "encoding", "since"})

    def __init__(self, path: Path, options: ImportOptions) -> None:
        super().__init__(path, options)
        self._articles = table_of(need_file(path, "articles.csv"), options)
        self._images = need_file(path, "images.zip", "images")
        self.items_file = self._articles.name
        self._id = self._articles.column("article_id")
        self._category = self._articles.column(options.category_column or "product_type_name", "category_column")
        log = find_file(path, "transactions_train.csv", "transactions_train.csv.gz", "copurchases.csv")
        self.pseudo_users = log is not None and log.name == "copurchases.csv"
        self._log = None if log is None else table_of(log, options)
        self.interactions_file = self._log.name if self._log else ""

    def items(self, writer: BundleWriter) -> pd.DataFrame:
        """One item an article; all other columns are kept as attributes."""
        articles = self._articles.read(writer.refuse, "item")
        return articles.rename(columns={self._id: "item_id", self._category: "category"})

    def gallery(self, item_ids: Collection[str]) -> Gallery:
        """The photo of article 0111565001 is ``0111565001.jpg``, in whatever folder."""
        return match_pictures(open_pictures(self._images), item_ids, "{item_id}.*")

    def interactions(self, writer: BundleWriter) -> Iterator[pd.DataFrame]:
        """``purchase`` events of weight 1, or ``copurchase`` events with the weight of the pair."""
        if self._log is None:
            return
        names = (
            {"item": "user_id", "copurchased": "item_id", "weight": "weight"}
            if self.pseudo_users
            else {"customer_id": "user_id", "article_id": "item_id", "t_dat": "timestamp"}
        )
        columns = [self._log.column(column) for column in names]
        event = "copurchase" if self.pseudo_users else "purchase"
        for chunk in self._log.chunks(writer.refuse, "interaction", columns):
            yield chunk.rename(columns=names).assign(event=event)
