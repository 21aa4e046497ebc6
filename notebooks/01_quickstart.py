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
# # From a catalogue to a design
#
# The whole line on the built-in drawn catalogue, by the same functions that the command line calls. The sizes here are
# small, so that the notebook runs in a minute or two; `make demo` runs the same line at a size worth looking at.
#
# Open it as a notebook with `jupytext --to ipynb 01_quickstart.py`.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display

import recgan
from recgan.config import DesignSettings, EmbedSettings, SimulateSettings, SplitSettings
from recgan.dataset.sheets import image_grid

work = Path(tempfile.mkdtemp(prefix="recgan-quickstart-"))

# %% [markdown]
# ## A catalogue
#
# A bundle is one immutable folder: items with categories, encoded images, interactions. Yours comes from
# `recgan import folder …`; this one is drawn.

# %%
catalogue = recgan.make_boutique(work / "boutique", items=240, size=64, seed=0)
catalogue.items.head()

# %%
pixels = recgan.load_pixels(catalogue, 64)
rows = [pixels[catalogue.primary_images[catalogue.category_index == c][:10]] for c in range(4)]
display(image_grid(rows, labels=catalogue.category_names[:4]))

# %% [markdown]
# ## Users with a known taste
#
# Simulated users have an ideal style and favourite categories. Because their taste is known, it can later judge what a
# model that never saw it has learnt. Real interactions need no such thing.

# %%
bundle = recgan.simulate_users(catalogue, work / "users", SimulateSettings(users=120, interactions=1800, seed=0))
bundle.interactions.head()

# %% [markdown]
# ## Features, a recommender, and what it is worth
#
# The encoder turns each picture into a vector once; VBPR learns each user's taste over them. Everything is measured on
# interactions that training never saw, against *all* unseen items.

# %%
embed = EmbedSettings(size=64)
split = SplitSettings(seed=0)
report = recgan.evaluate_ranking(bundle, ["popularity", "visual_knn", "vbpr"], split=split, embed=embed, seed=0)
judged = {**report.models, "oracle": report.oracle}
pd.DataFrame({name: figures.values["auc"] for name, figures in judged.items()}).T.round(3)  # AUC, by kind of item

# %%
recommender = recgan.train_recommender(bundle, "vbpr", out=work / "recommender", split=split, embed=embed, seed=0)
user = str(recommender.user_ids[0])
recommended = recommender.recommend([user], 8)[0]
recommended

# %%
shown = bundle.item_rows([r.item_id for r in recommended])
display(image_grid([pixels[bundle.primary_images[shown]]], labels=[f"for {user}"]))

# %% [markdown]
# ## A generator
#
# A class-conditional DCGAN learns to draw items of each category. A few thousand images are far too few for a good
# one: this cell shows the call, `make demo` shows the result.

# %%
gan = recgan.train_gan(bundle, "dcgan-lsgan", size=32, images_seen=1000, sheet_every=1000, out=work / "gan", seed=0)

# %% [markdown]
# ## A design
#
# Gradient ascent in the generator's latent space towards the user's predicted preference. Each design comes with its
# percentile among the real items and with the real items nearest to it.

# %%
designer = recgan.load_designer(work / "recommender", work / "gan", bundle=bundle)
designs = designer.design(user, bundle.category_names[0], 2, seed=0, settings=DesignSettings(steps=10))
display(image_grid([np.stack([d.image for d in designs])], scale=2))
[(round(d.score, 2), round(d.percentile, 1), d.nearest[0]) for d in designs]
