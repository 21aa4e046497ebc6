"""Where the votes of one blind test go, whoever serves its page."""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgan.errors import ArtifactError, DataError, StorageError
from recgan.evaluation.blindtest.votes import PAGE, VOTES, load_key, parse_vote

__all__ = ["LARGEST_BODY", "LARGEST_FILE", "BallotBox", "PageParts"]

LARGEST_BODY = 1 << 20
"""Bytes of one request: some thousands of votes."""
LARGEST_FILE = 1 << 28
"""Bytes of ``votes.jsonl`` at which no more is taken: over a million votes."""
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)
_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


@dataclass(frozen=True)
class PageParts:
    """The page of a blind test in three files, for a server whose content-security policy allows none inside it."""

    html: bytes
    """It names the others as ``page.css`` and ``page.js``, beside itself."""
    style: bytes
    script: bytes


class BallotBox:
    """The page of a blind test's folder, and its votes: each is on disk before `take` returns.

    Several threads may use one, and several processes one folder.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open the test.

        Raises:
            ArtifactError: the folder holds no blind test.
        """
        self.folder = Path(folder)
        self.key = load_key(folder)
        try:
            self.page = (self.folder / PAGE).read_bytes()
        except OSError as error:
            raise ArtifactError(f"'{folder}' holds no {PAGE} ({error.strerror}); make the test again") from error
        self._lock = threading.Lock()

    def parts(self) -> PageParts:
        """Return the page taken apart.

        Raises:
            ArtifactError: it is not a page as this version makes them.
        """
        style, script = _STYLE.findall(self.page), _SCRIPT.findall(self.page)
        if (len(style), len(script)) != (1, 1):
            raise ArtifactError(f"'{self.folder / PAGE}' is of another version of recgan; make the test again")
        html = _STYLE.sub(b'<link rel="stylesheet" href="page.css">', self.page)
        html = _SCRIPT.sub(b'<script src="page.js"></script>', html)
        return PageParts(html, style[0], script[0])

    def take(self, sent: Any) -> int:
        """Write votes down that came as JSON values, ``{"votes": [...]}``, all of them or none; return how many.

        Raises:
            DataError: they are none, or of another test.
            StorageError: they cannot be written, or there are too many already.
        """
        if not isinstance(sent, dict) or not isinstance(sent.get("votes"), list):
            raise DataError('send {"votes": [...]}')
        votes = [parse_vote(value, self.key).as_json(self.key.test) for value in sent["votes"]]
        text = "".join(json.dumps(vote, ensure_ascii=False) + "\n" for vote in votes).encode()
        try:
            self._append(text)
        except OSError as error:
            raise StorageError(f"the votes cannot be written: {error}; make room, and send them again") from error
        return len(votes)

    def _append(self, text: bytes) -> None:
        with self._lock, (self.folder / VOTES).open("ab") as file:
            with suppress(OSError):  # a file system without locks: there one process alone may write
                fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            start = file.seek(0, os.SEEK_END)
            try:
                if start + len(text) > LARGEST_FILE:
                    raise OSError("the file of votes has become too large")
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), start)
                raise
