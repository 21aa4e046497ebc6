"""Processes of the service's own, and how they are started."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

__all__ = ["SPAWN", "heed_interrupts", "settle", "start_unheeding"]

SPAWN = multiprocessing.get_context("spawn")  # torch's threads do not outlive a fork


def start_unheeding(process: BaseProcess) -> None:
    """Start a process of `SPAWN`. Ctrl-C reaches the whole group, and one that still imports would end with a
    traceback: it waits until `heed_interrupts`, and who has started it says when to stop."""
    resource_tracker.ensure_running()  # `start` does, and lets interrupts in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the process inherits it
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def settle() -> None:
    """Tell the garbage collector that what is here now stays: each of its rounds over the modules and the models would
    stop all requests for 0.2 s. What was left of earlier models goes before."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def heed_interrupts() -> None:
    """Take interrupts from now on; one that has come meanwhile comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
