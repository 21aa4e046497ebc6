"""``python -m recgan.cli`` is ``recgan``."""

from recgan.cli import main

main()
