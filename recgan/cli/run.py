"""Runs one command: what it raises becomes one line for a person and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from recgan.cli import (  # noqa: F401  (they register their verbs)
    blindtest,
    data,
    edit,
    evaluate,
    export,
    gaps,
    machine,
    measure,
    sample,
    serving,
    train,
    use,
)
from recgan.cli.app import app
from recgan.console import fail
from recgan.errors import RecganError, os_mend

__all__ = ["run"]

# typer carries click's errors under another name in each of its versions.
_UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments make and return the exit code."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("recgan", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as stop:
        return stop.exit_code
    except _UsageError as error:
        _tell_usage(error)
        return 2
    except RecganError as error:
        fail(str(error))
        return error.exit_code
    except BrokenPipeError:  # who read the answer has seen enough; what Python still holds back goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"'{error.filename}': " if error.filename else ""
        fail(f"{where}{error.strerror or error}; {os_mend(error)}")
        return 2
    return 0


def _tell_usage(error: Any) -> None:
    message = error.format_message().strip()
    if message:  # without any argument the help page is shown, and nothing is said
        path = error.ctx.command_path if error.ctx else "recgan"
        fail(f"{message}{'' if message[-1] in '.?!' else '.'} See '{path} --help'.")
