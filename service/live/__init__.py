"""The models as they are now: a trained model stands still, and what has happened since is laid over it.

* `eye`: what the recommender sees in a picture.
* `changes`: items that were changed or added.
* `catalogue`: the bundle's items with these changes.
* `tastes`: users with what they did since.
* `ranking`: recommendations from both.
* `shop`: one moment of all this, and who keeps it up to date.
"""
