"""``recgan retrain``: the served recommender, trained anew on what happened since, serves if it is no worse.

The catalogue stays as it is, so that the generator goes on to fit; items that were added since stay laid over it.
Run it again and again, by cron say: each time it begins with the model that serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recgan.config import EmbedSettings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.split import positives_among
from recgan.errors import NotFoundError
from recgan.metrics.ranking import rank_counts, top_k_metrics
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommender, load_recommender, train_recommender
from service.holder import stored_model
from service.models import load_models
from service.settings import ServiceSettings
from service.store import Store

__all__ = ["Retrained", "retrain"]

JUDGED = 5000
"""Users whose lists are compared, at most."""
CUTOFF = 20
_COLUMNS = ["user_id", "item_id", "timestamp", "event", "weight"]


@dataclass(frozen=True)
class Retrained:
    """What came of it."""

    promoted: bool
    reason: str
    """Why, for a person."""
    model: str | None = None
    """Id of the new model, if it was promoted."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Of both models, on what happened since."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def retrain(
    store: Store,
    out: str | Path,
    *,
    min_gain: float = 0.0,
    min_users: int = 20,
    seed: int = 0,
    device: str = "auto",
    progress: Progress = quiet,
) -> Retrained:
    """Train the served recommender anew on the store's events, and let it serve if it is no worse.

    The gate: of each user who did something new, the last new positive event is held out. A challenger is trained
    without it; the champion, which has seen none of it, folds the users in from all but it, as the service does. If the
    challenger's NDCG@20 over all items is not lower than the champion's plus ``min_gain``, the model is trained on
    everything and activated. Both are trained with the champion's settings and what validation chose when it was
    trained, since nothing is left to choose by.

    Args:
        store: the service's.
        out: folder in which ``bundle-TIME`` and ``recommender-TIME`` are written; features are cached there too.
        min_gain: what the challenger must be better by; negative: what it may be worse by.
        min_users: with fewer users to judge by, nothing is promoted.
        seed: of the training.
        device: where it is trained.
        progress: told how far it is.

    Raises:
        NotFoundError: the store knows no model; serve one first.
        RecganError: as training and loading do.
    """
    active = store.models.active()
    if active is None:
        raise NotFoundError("the store knows no model yet; start the service on it once ('recgan serve --store …')")
    stored = store.models.get(active)
    bundle, champion = Bundle.open(stored.data), load_recommender(stored.recommender)
    learned_to = int(champion.facts.get("events_to", 0))
    events, last = _events(store, learned_to, set(bundle.item_ids.tolist()))
    held = _held_out(events, champion)
    if len(held) < min_users:
        return Retrained(
            False, f"refused: {len(held)} users did something new; at least {min_users} are needed to judge by"
        )
    time = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    new_bundle, new_recommender = Path(out) / f"bundle-{time}", Path(out) / f"recommender-{time}"
    renewed = _write_bundle(new_bundle, bundle, events, held, store.events.forgotten())
    metrics = _judge(champion, renewed, held, seed=seed, device=device, progress=progress)
    told = (
        f"NDCG@{CUTOFF} {metrics['challenger']:.4f} against {metrics['champion']:.4f} of the model that serves, "
        f"over {metrics['users']:,} users"
    )
    if metrics["challenger"] < metrics["champion"] + min_gain:
        return Retrained(False, f"refused: {told}", metrics=metrics)
    final = train_recommender(
        renewed,
        champion.name,
        champion.chosen_settings(),
        split=SplitSettings(protocol="all"),
        embed=_embed(champion),
        seed=seed,
        device=device,
        progress=progress,
    )
    final.facts["events_to"] = last
    final.save(new_recommender)
    settings = ServiceSettings(
        data=new_bundle,
        recommender=new_recommender,
        gan=stored.gan,
        device=device,
    )
    models = load_models(settings, progress)  # what cannot be loaded is not activated
    noted = stored_model(models, settings, source="retrain", metrics={**final.metrics, "gate": metrics})
    if not store.models.register(noted, activate=f"promoted: {told}"):
        store.models.activate(models.id, f"promoted again: {told}")
    return Retrained(True, f"promoted: {told}", models.id, metrics)


def _events(store: Store, after: int, items: set[str]) -> tuple[pd.DataFrame, int]:
    """Return the events since, of items of the bundle, and the id of the last event."""
    rows, last = [], after
    for chunk in store.events.read(after):
        last = chunk[-1].id
        rows += [(e.user_id, e.item_id, e.happened_at, e.event, e.weight) for e in chunk if e.item_id in items]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"], utc=True)), last


def _held_out(events: pd.DataFrame, champion: Recommender) -> pd.DataFrame:
    """Return the last positive event of each user with an item that the champion does not know the user by."""
    positive = positives_among(events, SplitSettings())
    known = set(champion.user_ids.tolist())
    rows = dict(zip(champion.item_ids.tolist(), range(len(champion.items))))

    def new(user_id: str, item_id: str) -> bool:
        return user_id not in known or rows.get(item_id) not in champion.user_vector(user_id).seen

    is_new = np.array([new(*pair) for pair in zip(positive["user_id"], positive["item_id"])], dtype=bool)
    fresh = positive[is_new]
    return fresh.drop_duplicates("user_id", keep="last")[["user_id", "item_id"]]


def _write_bundle(out: Path, bundle: Bundle, events: pd.DataFrame, held: pd.DataFrame, forgotten: set[str]) -> Bundle:
    """Write the bundle with the events added, without users who are to be forgotten; ``held`` is its test part."""
    before = bundle.interactions[_COLUMNS]
    before = before[~before["user_id"].isin(forgotten)]
    before = before.assign(timestamp=pd.to_datetime(before["timestamp"], utc=True))
    together = pd.concat([before, events], ignore_index=True) if len(before) else events
    tested = pd.MultiIndex.from_frame(held)
    is_test = pd.MultiIndex.from_frame(together[["user_id", "item_id"]]).isin(tested)
    together = together.assign(split=np.where(is_test, "test", "train"))
    out.parent.mkdir(parents=True, exist_ok=True)
    header = bundle.header
    with BundleWriter(out, name=header.name, licence=header.licence, source=header.source) as writer:
        writer.link_images(bundle)
        writer.set_items(bundle.items)
        writer.add_interactions(together)
    return Bundle.open(out)


def _embed(model: Recommender) -> EmbedSettings:
    facts = model.facts
    if "size" not in facts:
        return EmbedSettings()
    return EmbedSettings(encoder=facts.get("encoder", EmbedSettings().encoder), size=facts["size"])


def _judge(
    champion: Recommender, renewed: Bundle, held: pd.DataFrame, *, seed: int, device: str, progress: Progress
) -> dict[str, Any]:
    """Return the mean NDCG of both on the held-out events."""
    challenger = train_recommender(
        renewed,
        champion.name,
        champion.chosen_settings(),
        split=SplitSettings(protocol="given"),
        embed=_embed(champion),
        seed=seed,
        device=device,
        progress=progress,
    )
    known = set(challenger.user_ids.tolist())
    judged = held[held["user_id"].isin(known)]
    judged = judged.sample(min(JUDGED, len(judged)), random_state=seed)
    users, targets = judged["user_id"].tolist(), challenger.rows_of_items(judged["item_id"].tolist())
    # What was held out is no part of what a user is known by.
    seen = [np.setdiff1d(challenger.user_vector(user).seen, [target]) for user, target in zip(users, targets)]
    learned = set(champion.user_ids.tolist())
    vectors = {
        "champion": np.stack([_as_served(champion, learned, user, rows) for user, rows in zip(users, seen)]),
        "challenger": np.stack([challenger.user_vector(user).values for user in users]),
    }
    factors = {"champion": champion.item_factors, "challenger": challenger.item_factors}
    return {
        "users": len(users),
        "measure": f"ndcg@{CUTOFF}",
        **{name: _ndcg(vectors[name], factors[name], targets, seen, renewed) for name in vectors},
    }


def _as_served(model: Recommender, known: set[str], user: str, seen: np.ndarray) -> np.ndarray:
    """Return a user's vector as the service takes it: learned, or folded in anew if anything happened since."""
    if user in known:
        learned = model.user_vector(user)
        if np.array_equal(np.sort(learned.seen), np.sort(seen)):
            return learned.values
    return model.folded(seen, np.empty(0, dtype=np.int64))


def _ndcg(
    vectors: np.ndarray, factors: np.ndarray, targets: np.ndarray, seen: Sequence[np.ndarray], bundle: Bundle
) -> float:
    candidates = bundle.items["available"].to_numpy(dtype=bool)
    values = []
    for start in range(0, len(vectors), 256):
        part = slice(start, start + 256)
        scores, rows = vectors[part] @ factors.T, seen[part]
        counts = rank_counts(
            scores,
            np.arange(len(scores)),
            targets[part],
            np.repeat(np.arange(len(scores)), [len(own) for own in rows]),
            np.concatenate(rows) if rows else np.empty(0, dtype=np.int64),
            candidates,
        )
        values.append(top_k_metrics(counts, len(scores), [CUTOFF])[f"ndcg@{CUTOFF}"])
    return float(np.nanmean(np.concatenate(values)))
