"""The HTTP service: recommendations and designs from one catalogue, one recommender and one generator."""
