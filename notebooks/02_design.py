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
# minute or two: the pictures are rough, and the figures say nothing about the method.
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
from recgan.evaluation.designs import evaluate_designs

work = Path(tempfile.mkdtemp(prefix="recgan-design-"))

# %% [markdown]
# ## A shop whose users' taste is known

# %%
catalogue = recgan.make_boutique(work / "boutique", items=160, size=64, seed=0)
bundle = recgan.simulate_users(catalogue, work / "users", SimulateSettings(users=60, interactions=1200, seed=0))

# %% [markdown]
# ## Scorer A and a generator
#
# A learns from one half of each user's history; the judge will have the other. `@48` lets the encoder see at 48 pixels,
# which is quick.

# %%
embed = EmbedSettings(encoder="efficientnet_lite0_levels@48", size=32)
scorer = recgan.train_recommender(
    bundle, "ideal_point", split=SplitSettings(half="scorer"), embed=embed, out=work / "a"
)

gan = recgan.train_gan(bundle, "dcgan-lsgan", out=work / "gan", size=32, images_seen=1000, sheet_every=1000, seed=0)

# %% [markdown]
# ## A search: best of N, the paper's, ours

# %%
designer = Designer(recgan.load_recommender(work / "a"), gan)
user = str(scorer.user_ids[0])
category = bundle.category_names[0]
small = DesignSettings(samples=8, starts=2, steps=10)
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
display(image_grid(rows, labels=list(methods), scale=2))
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
display(image_grid([np.stack([shared.image, *(own[0].image for own in many)])], labels=["all three, then each"], scale=2))

# %% [markdown]
# ## The proof
#
# Judge B is trained from the other half of the histories and looks through another network; the oracles know the truth.

# %%
report = evaluate_designs(
    bundle,
    work / "a",
    work / "gan",
    ProofSettings(judge_encoder="efficientnet_lite2@48", reader_images=150, reader_epochs=2, pairs=8),
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
