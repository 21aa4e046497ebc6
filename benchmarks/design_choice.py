"""Which sample should a user be shown? Rules of choice, judged for many users at once, without any search.

    python benchmarks/design_choice.py BUNDLE --recommender A --gan GAN [--beside DIR …] [--crowd 0,1,1.5,2] [--users N]

A and the recommenders beside it must have been trained with the split half=scorer; judge B is trained from the other
half, as in `recgan evaluate designs`. The generator draws ``--samples`` pictures of each category once, and each user
is given one of those of the category that `recgan evaluate designs` would draw for them: by a rule, and so without the
cost of a search for each user. Users whom that proof draws by its seed 0 are left out, so that rules that are chosen
here can be judged there. The first line is A's best real item; the others are the pictures, with the share of users for
whom a judge prefers them to it. ``crowd`` is `DesignSettings.crowd_weight`, ``kappa`` counts the disagreement.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recgan.config import DesignSettings, ProofSettings
from recgan.console import shown_progress
from recgan.dataset.bundle import Bundle
from recgan.dataset.oracle import StyleOracle
from recgan.dataset.pixels import to_uint8
from recgan.design import Designer, load_designer
from recgan.design.sight import Sight
from recgan.encoders import embed_pixels
from recgan.evaluation.designs import judge_of
from recgan.evaluation.designs.proving import drawn_users
from recgan.gan.sampling import design_seeds, latents

PROOF_USERS, PROOF_SEED = 200, 0
SAMPLES_SEED = 777


@dataclass(frozen=True)
class Choice:
    """What there is to choose from for one user, in standard deviations of the user's real items."""

    liking: np.ndarray
    """By A and those beside it, float [sights, N]."""
    crowd: np.ndarray
    """By users in general, as A sees them, float [N]."""
    judged: np.ndarray
    """By judge B and the style oracle, float [2, N]."""
    best_real: np.ndarray
    """By the same two, of A's best real item, float [2]."""


def drawn(designer: Designer, category: str, samples: int) -> np.ndarray:
    """Return samples of a category, uint8 [samples, S, S, 3], from the middle of the prior as designs begin there."""
    prior = designer.gan.recipe.model_copy(update={"latent_std": DesignSettings().latent_std})
    z = latents(design_seeds(SAMPLES_SEED, samples), prior)
    kind = torch.full((samples,), designer.gan.class_index(category))
    return np.concatenate([to_uint8(designer.gan.sample(a, b)) for a, b in zip(z.split(32), kind.split(32))])


def standardised(told: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return what is told of pictures in standard deviations from the mean of real items."""
    return (told - real.mean()) / max(real.std(), 1e-12)


def choices(
    designers: list[Designer], judge: Sight, oracle: StyleOracle, category: str, users: list[str], samples: int
) -> Iterator[Choice]:
    """Yield what each user may be given of a category."""
    main = designers[0]
    pixels = drawn(main, category, samples)
    seen = [d.sight.whitening.apply(embed_pixels(d.sight.encoder, pixels)) for d in designers]
    by_judge = judge.whitening.apply(embed_pixels(judge.encoder, pixels))
    truth = oracle.taste(users, pixels, [category] * samples)
    vector, mean = main.sight.crowd(category)
    with torch.no_grad():
        classes = torch.full((samples,), main.gan.class_index(category))
        crowd = (main.recommender.factors_from(torch.from_numpy(seen[0]), classes) @ vector).numpy() - mean
    for place, user in enumerate(users):
        real = main.real_items(user, category)
        liking = [
            standardised(d.sight.scores(d.sight.vector(user), features, category), d.real_items(user, category).scores)
            for d, features in zip(designers, seen)
        ]
        real_judged = judge.scores(judge.vector(user), judge.features(real.rows), category)
        real_truth = oracle.taste_of_items([user], real.rows)[0]
        told = judge.scores(judge.vector(user), by_judge, category)
        both = np.stack([standardised(told, real_judged), standardised(truth[place], real_truth)])
        own = [standardised(each, each)[real.scores.argmax()] for each in (real_judged, real_truth)]
        yield Choice(np.stack(liking), crowd, both, np.array(own))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--recommender", required=True)
    parser.add_argument("--gan", required=True)
    parser.add_argument("--beside", action="append", default=[])
    parser.add_argument("--crowd", default="0,1,1.5,2")
    parser.add_argument("--kappa", type=float, default=DesignSettings().kappa)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--users", type=int, default=1700)
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--judge-encoder", default=ProofSettings().judge_encoder)
    given = parser.parse_args()
    bundle = Bundle.open(given.bundle)
    with shown_progress() as progress:
        folders = [given.recommender, *given.beside]
        designers = [load_designer(each, given.gan, bundle=bundle, device="cpu") for each in folders]
        proof = ProofSettings(judge_encoder=given.judge_encoder)
        judge = Sight(judge_of(bundle, designers[0], proof, seed=PROOF_SEED, progress=progress), designers[0].gan)
        kept = {one.user_id for one in drawn_users(bundle, designers[0], PROOF_USERS, seed=PROOF_SEED)}
        users = drawn_users(bundle, designers[0], given.users, seed=given.seed)
        users = [one for one in users if one.user_id not in kept]
        oracle = StyleOracle.load(bundle)
        found: list[Choice] = []
        for category in sorted({one.category for one in users}):
            progress("judging samples", len(found), len(users))
            ids = [one.user_id for one in users if one.category == category]
            found += choices(designers, judge, oracle, category, ids, given.samples)
    real = np.array([one.best_real for one in found])
    error = 0.5 / len(found) ** 0.5
    print(f"{len(found)} users; standard error of a win about {error:.3f}")
    print("{:26s} B {:.3f}  style {:.3f}".format("A's best real item", *real.mean(axis=0)))
    for names in ([0], list(range(len(folders)))) if given.beside else ([0],):
        for weight in map(float, given.crowd.split(",")):
            shown = []
            for one in found:
                liking = one.liking[names]
                value = liking.mean(axis=0) - given.kappa * liking.std(axis=0) + weight * one.crowd
                shown.append(one.judged[:, value.argmax()])
            got = np.array(shown)
            win = (got > real).mean(axis=0)
            name = f"{'A' if len(names) == 1 else 'A and those beside'}, crowd {weight:g}"
            print("{:26s} B {:.3f}  style {:.3f}  wins B {:.3f}  style {:.3f}".format(name, *got.mean(axis=0), *win))


if __name__ == "__main__":
    main()
