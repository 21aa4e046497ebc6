"""Designs made from what is there: an item tailored to a user, two mixed, more like one, moved along a slider."""

from recgan.design.editing.editor import Editor
from recgan.design.editing.subjects import Subject, check_mix, subject_of_design, subject_of_item, subject_of_photo
from recgan.design.editing.tailoring import climb_settings
from recgan.design.editing.usual import UsualDistances

__all__ = [
    "Editor",
    "Subject",
    "UsualDistances",
    "check_mix",
    "climb_settings",
    "subject_of_design",
    "subject_of_item",
    "subject_of_photo",
]
