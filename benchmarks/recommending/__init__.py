"""The parts of `benchmarks/recommender.py`."""
