"""The best items by inner product: exact or approximate, filtered, for one user or for all."""
