# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Designing, and the proof of it
#
# A recommender says what a user likes, a generator what can be drawn, and a search in the generator's latent space brings
# them together. Then others judge, who never saw the designs made. The sizes here are tiny, so that the notebook runs in a
# few minutes: the figures say nothing about the method.
#
# Open it as a notebook with `jupytext --to ipynb 02_design.py`.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display

import recgan
from recgan.config import DesignSettings, EmbedSettings, ProofSettings, SimulateSettings, SplitSettings
from recgan.dataset.sheets import image_grid
from recgan.design import Designer, Request, load_preset
from recgan.design.editing import Editor
from recgan.evaluation.designs import evaluate_designs
from recgan.gan.latent import find_directions
from recgan.gan.shipped import draw_catalogue, shipped_gan, write_gan

work = Path(tempfile.mkdtemp(prefix="recgan-design-"))

# %% [markdown]
# ## A generator, and a shop whose users' taste is known
#
# The generator that comes with recgan has learned from photos. The goods of this shop are samples of it, so they do not exist
# either; its users' ideals are looks of some of them. (Yours: `recgan.train_gan`, on your own bundle.)

# %%
shipped = shipped_gan()
catalogue = draw_catalogue(shipped, work / "goods", items=300, seed=0)
bundle = recgan.simulate_users(catalogue, work / "users", SimulateSettings(users=60, interactions=1200, seed=0))
gan = write_gan(shipped, work / "gan", catalogue=bundle)

# %% [markdown]
# ## Scorer A
#
# A learns from one half of each user's history; the judge will have the other. `@64` lets the encoder see at 64 pixels,
# which is quick.

# %%
embed = EmbedSettings(encoder="efficientnet_lite0_levels@64", size=64)
scorer = recgan.train_recommender(
    bundle, "ideal_point", split=SplitSettings(half="scorer"), embed=embed, out=work / "a"
)

# %% [markdown]
# ## A search: best of N, the paper's, ours

# %%
designer = Designer(recgan.load_recommender(work / "a"), gan)
user = str(scorer.user_ids[0])
category = "Tshirts (men)"
small = DesignSettings(samples=48, starts=2, steps=10)
methods = {
    "best of N": small.model_copy(update={"steps": 0}),
    "kang2017": load_preset("kang2017"),
    "default": small,
}
rows, table = [], []
for name, settings in methods.items():
    designs = designer.design(user, category, n=6, seed=0, settings=settings)
    rows.append(np.stack([design.image for design in designs]))
    table.append(
        {
            "method": name,
            "score": np.mean([design.score for design in designs]),
            "percentile": np.mean([design.percentile for design in designs]),
            "realism": np.mean([design.realism for design in designs]),
        }
    )
display(image_grid(rows, labels=list(methods)))
pd.DataFrame(table)

# %% [markdown]
# The score is what the search climbs, so it proves nothing. Each design is reproduced by its own seed:

# %%
(again,) = designer.design(user, category, n=1, seed=designs[3].seed, settings=small)
np.array_equal(again.image, designs[3].image)

# %% [markdown]
# ## For a cohort, and for many at once

# %%
cohort = [str(user_id) for user_id in scorer.user_ids[:3]]
(shared,) = designer.design(cohort, category, n=1, settings=small)
many = designer.design_many([Request(user_id, category, n=1) for user_id in cohort], settings=small)
display(image_grid([np.stack([shared.image, *(own[0].image for own in many)])], labels=["all three, then each"]))

# %% [markdown]
# ## Editing what is there
#
# A design can be varied, mixed with another and moved along a direction of the latent space. It can be tailored: changed so
# that somebody else likes it more and it still looks like itself, within a leash. Items and photos can, too, by an inverter
# (`recgan.gan.latent.train_inverter`), which finds them in the latent space.

# %%
editor = Editor(designer, bundle)
one, other = (editor.of_design(design) for design in designs[:2])
directions = find_directions(gan, count=2, samples=256)
low, high = float(directions.low[0]), float(directions.high[0])
edits = {
    "more like the first": editor.like(one, user, 5, seed=0),
    "from the first to the second": editor.mix(one, other, user, 5, seed=0),
    "along the first direction": [
        editor.slide(one, directions, {0: units}, user, seed=0) for units in np.linspace(low, high, 5)
    ],
}
display(image_grid([np.stack([edit.image for edit in made]) for made in edits.values()], labels=list(edits)))

# %%
another = str(scorer.user_ids[1])
(tailored,) = editor.tailor(one, another, 1, seed=0, search=small)
display(image_grid([np.stack([one.image, tailored.image])], labels=["as it was, and tailored"]))
{name: tailored.settings["edit"][name] for name in ("score_of_start", "leash")} | {"score": tailored.score}

# %% [markdown]
# ## The proof
#
# Judge B is trained from the other half of the histories and looks through another network; the oracles know the truth.

# %%
report = evaluate_designs(
    bundle,
    work / "a",
    work / "gan",
    ProofSettings(judge_encoder="efficientnet_lite2@64", reader_images=150, reader_epochs=2, pairs=8),
    methods={"default": small, "kang2017": load_preset("kang2017")},
    users=8,
)
figures = report.as_json()["methods"]
pd.DataFrame(
    {
        name: {
            "win, judge B": one["win"]["b"]["share"],
            "win, style oracle": one["win"]["style"]["share"],
            "win, attribute oracle": one["win"]["attribute"]["share"],
            "lift by A": one["lift"]["a"]["mean"],
            "lift by B": one["lift"]["b"]["mean"],
            "lift by style": one["lift"]["style"]["mean"],
        }
        for name, one in figures.items()
    }
).T.round(2)

# %%
for finding in report.findings():
    print(finding)
