"""Databases for tests: a SQLite file, and a real PostgreSQL server that is started for the session."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

__all__ = ["new_database", "postgres_server", "store_url"]


def _program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs, which Debian keeps off the PATH."""
    return shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server of the session's own, on a socket; ``{name}`` stands for a database."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("NO POSTGRESQL HERE: what the store does on it was NOT tested; install Debian's 'postgresql'")
    folder = Path(tempfile.mkdtemp(prefix="recgan-pg-"))  # short: a socket's path has 107 characters at most
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(folder, user, user)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "user": user, "cwd": folder}
    made = subprocess.run(
        [initdb, "-D", folder / "data", "-U", "recgan", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=False,
        **quiet,  # type: ignore[call-overload]
    )
    assert made.returncode == 0, made.stderr
    arguments = ["-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    server = subprocess.Popen([postgres, *arguments], **quiet)  # type: ignore[call-overload]
    url = f"postgresql+psycopg://recgan@/{{name}}?host={folder}"
    engine = create_engine(url.format(name="postgres"), pool_pre_ping=True)
    try:
        for attempt in range(200):
            try:
                engine.connect().close()
                break
            except Exception:
                assert server.poll() is None, server.communicate()[1]
                if attempt == 199:
                    raise
                time.sleep(0.05)
        yield url
    finally:
        engine.dispose()
        server.terminate()
        server.communicate(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
        return
    yield new_database(request.getfixturevalue("postgres_server"))


def new_database(server: str) -> str:
    """Make an empty database on the server of `postgres_server`, with which it goes, and return its URL."""
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(server.format(name="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.format(name=name)
