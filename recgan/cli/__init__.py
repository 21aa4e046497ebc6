"""The command line: one thin command a verb, each over one public function.

Answers go to standard output (``--json``: one JSON object), everything else to standard error. Exit codes: 0 done,
2 the user's mistake, 1 ours, 130 stopped by Ctrl-C or SIGTERM. Heavy libraries are imported by the verb that needs
them.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; what is meant for a person ends it with one line and its exit code."""
    # SIGTERM is as Ctrl-C: what is under way is kept, or removed.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from recgan.cli.run import run  # here, so that Ctrl-C while it is loaded is told like any other

        code = run(sys.argv[1:])
    except KeyboardInterrupt as stop:
        told = str(stop.args[0]) if stop.args else "Nothing half-written was left."
        told = told if told.startswith("stopped") else f"stopped. {told}"
        sys.stderr.write(f"{chr(10) if sys.stderr.isatty() else ''}{told}\n")
        code = 130
    finally:
        signal.signal(signal.SIGTERM, before)
    sys.exit(code)
