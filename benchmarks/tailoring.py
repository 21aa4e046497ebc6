"""Does tailoring make held-out items better liked by a judge, and leave them what they are?

    python benchmarks/tailoring.py BUNDLE --recommender A --gan GAN --inverter INVERTER --items 50 --out OUT

A must have been trained with the split half=scorer; judge B is trained from the other half, once
(`recgan.evaluation.designs`). Prints a table; writes OUT/tailoring.json, and OUT/tailoring.png: the first items of the
seed, a row each of photos, of what the inversion made of them, and of the tailored pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from recgan.config import DesignSettings, EditSettings, ProofSettings, SplitSettings, overridden
from recgan.console import shown_progress
from recgan.dataset.bundle import Bundle
from recgan.dataset.oracle import ORACLE_PARTS, StyleOracle
from recgan.dataset.sheets import image_grid, save_picture
from recgan.dataset.split import make_split
from recgan.design import Design, load_designer
from recgan.design.editing import Editor, climb_settings
from recgan.design.search import passes
from recgan.design.sight import Sight
from recgan.evaluation.classifier import CatalogueClassifier
from recgan.evaluation.designs import judge_of
from recgan.evaluation.designs.judges import Judge, RecommenderJudge, StyleJudge
from recgan.evaluation.designs.tailoring import draw_pairs, judge_tailoring
from recgan.evaluation.kept import KeptParts, Part
from recgan.gan.data import training_rows
from recgan.gan.latent import load_inverter

SHOWN = 12
"""Items in the picture."""
TOGETHER = 4
"""Items that are tailored before they are kept, so that a run that was stopped goes on there."""


def tailored(
    editor: Editor, named: Sequence[tuple[str, str]], search: DesignSettings, seed: int, kept: KeptParts
) -> list[Design]:
    """Return what becomes of some (item, user), made once."""

    def make() -> Part:
        made = editor.tailor_many([(editor.item(item), user) for item, user in named], seed=seed, search=search)
        designs = [one for (one,) in made]
        arrays = {name: np.stack([getattr(one, name) for one in designs]) for name in ("image", "z", "start")}
        facts = ("category", "seed", "score", "percentile", "realism", "nearest", "settings")
        return arrays, {"designs": [{name: getattr(one, name) for name in facts} for one in designs]}

    arrays, facts = kept.of("tailored", {"named": [list(pair) for pair in named]}, make)
    return [
        Design(**told, **{name: values[row] for name, values in arrays.items()})
        for row, told in enumerate(facts["designs"])
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--recommender", required=True)
    parser.add_argument("--gan", required=True)
    parser.add_argument("--inverter", required=True)
    parser.add_argument("--judge-encoder", default=ProofSettings().judge_encoder)
    parser.add_argument("--items", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the edit")
    parser.add_argument("--search", action="append", default=[], metavar="NAME=VALUE", help="of the climb")
    parser.add_argument("--classifier-images", type=int, default=6000)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    bundle = Bundle.open(given.bundle)
    edit, search = overridden(EditSettings(), given.set), climb_settings(DesignSettings(), given.search)
    with shown_progress() as progress:
        designer = load_designer(given.recommender, given.gan, device=given.device)
        editor = Editor(designer, bundle, load_inverter(given.inverter, designer.gan), edit)
        proof = ProofSettings(judge_encoder=given.judge_encoder)
        split = make_split(bundle, SplitSettings(**{**designer.recommender.facts["split"], "half": "judge"}))
        known = split.user_ids[np.unique(split.train.users)]
        named = draw_pairs(bundle, editor, known, given.items, seed=given.seed)
        pairs = [(editor.item(item), user) for item, user in named]
        about = {"bundle": bundle.digest, "gan": designer.gan.digest, "recommender": designer.recommender.digest}
        about |= {"edit": edit.model_dump(), "search": search.model_dump(), "seed": given.seed}
        kept = KeptParts(given.out, {**about, "inverter": str(given.inverter)})
        designs = []
        for start in range(0, len(pairs), TOGETHER):
            progress("tailoring", start, len(pairs))
            designs += tailored(editor, named[start : start + TOGETHER], search, given.seed, kept)
        judge = judge_of(bundle, designer, proof, seed=given.seed, progress=progress)
        judges: list[Judge] = [
            RecommenderJudge("a", designer.sight),
            RecommenderJudge("b", Sight(judge, designer.gan)),
        ]
        if ORACLE_PARTS[0] in bundle.header.parts:
            judges.append(StyleJudge(StyleOracle.load(bundle)))
        classifier = None
        if given.classifier_images:
            rows = training_rows(bundle, ("train",))
            rows = np.random.default_rng(given.seed).permutation(rows)[: given.classifier_images]
            classifier = CatalogueClassifier.learnt(
                editor.photos(rows),
                bundle.category_index[rows],
                len(bundle.category_names),
                epochs=6,
                seed=given.seed,
                device=torch.device(designer.device),
                progress=progress,
            )
        report = judge_tailoring(editor, pairs, designs, judges, classifier)

    told = {
        **report.as_json(),
        "seed": given.seed,
        "edit": edit.model_dump(),
        "search": search.model_dump(),
        "passes": passes(search.model_copy(update={"samples": 1, "starts": 1})),
        "judge": {"model": judge.name, "encoder": judge.facts["encoder"], "split": judge.facts["split"]["half"]},
        "device": str(designer.device),
    }
    (given.out / "tailoring.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    first = slice(0, SHOWN)
    rows = [np.stack([subject.image for subject, _ in pairs[first]])]
    rows += [np.stack([one.start for one in designs[first] if one.start is not None])]
    rows += [np.stack([one.image for one in designs[first]])]
    scale = max(1, 128 // designer.gan.size)
    save_picture(image_grid(rows, ["photo", "inversion", "tailored"], scale=scale), given.out / "tailoring.png")
    for group in (*report.rises.items(), *report.lift.items(), ("", report.figures)):
        for name, one in group[1].items():
            print(f"{group[0]:6s} {name:20s} {one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})")


if __name__ == "__main__":
    main()
