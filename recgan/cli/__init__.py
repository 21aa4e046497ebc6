"""The command line: one thin command a verb, each over one public function.

Answers go to standard output (``--json``: one JSON object), everything else to standard error. Exit codes: 0 done,
2 the user's mistake, 1 ours, 130 stopped by Ctrl-C. Heavy libraries are imported by the verb that needs them.
"""

from __future__ import annotations

import sys

from recgan.cli import data, evaluate, machine, train, use  # noqa: F401  (they register their verbs)
from recgan.cli.app import app
from recgan.console import fail
from recgan.errors import RecganError

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; errors meant for a person end it with one line and their exit code."""
    try:
        app()
    except RecganError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
