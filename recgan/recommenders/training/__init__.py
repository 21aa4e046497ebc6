"""How factors are learned by descent: the trainers, their losses and negatives, and the figure that chooses."""
