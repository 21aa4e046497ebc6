"""``recgan serve --workers 2``: two web processes at one address, and who watches over them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from recgan.errors import SettingsError
from service.client import Client
from service.settings import service_settings
from tests.service_group import LONG
from tests.service_world import PATIENCE, until, write_catalogue

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="processes are looked up as Linux has them"
)
HERE = Path(__file__).parents[1]
STARTED = 600.0
"""Seconds for processes to start: each imports torch, and they share the machine with other tests."""
ROUTE = "/v1/items/{item_id:id}"


def children_of(pid: int) -> set[int]:
    """Return the processes that a process has started, in whichever thread."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return {int(child) for thread in threads for child in (thread / "children").read_text().split()}


class Group:
    """The processes, what they log, and their address."""

    def __init__(self, bundle: Path, store: str) -> None:
        self.lines: list[dict] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.service_group", str(bundle), store],
            cwd=HERE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        until(lambda: bool(self.lines), STARTED)
        found = re.search(r"http://\S+?:\d+", self.lines[0]["message"])
        assert found is not None
        self.url = found[0]
        until(lambda: self.ready, STARTED)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("{"):
                self.lines.append(json.loads(line))

    @property
    def ready(self) -> bool:
        """Whether both answer and the design worker works."""
        begun = {line["process"] for line in self.lines if line["message"].startswith("ready: ")}
        return len(begun) == 3

    def ask(self) -> int:
        """Ask for an item over a new connection, and return which process answered."""
        number = len(self.lines)
        answer = httpx.get(f"{self.url}/v1/items/plain", timeout=PATIENCE)
        assert answer.status_code == 200
        id = answer.headers["X-Request-ID"]
        until(lambda: any(line.get("request_id") == id for line in self.lines[number:]))
        return next(line["process"] for line in self.lines[number:] if line.get("request_id") == id)

    def children(self) -> set[int]:
        """The processes that were started."""
        return children_of(self.process.pid)

    def asked(self) -> float:
        """How often the service says that it was asked for an item."""
        text = httpx.get(f"{self.url}/metrics", timeout=PATIENCE).text
        counts = re.findall(rf'recgan_requests_total{{.*route="{re.escape(ROUTE)}".*}} (\S+)', text)
        return sum(float(count) for count in counts)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue of `service_world`."""
    return write_catalogue(tmp_path_factory.mktemp("service") / "bundle").path


@pytest.fixture(scope="module")
def group(bundle: Path) -> Iterator[Group]:
    """Two web processes."""
    group = Group(bundle, f"sqlite:///{bundle.parent}/store.sqlite")
    yield group
    if group.process.poll() is None:
        group.process.kill()
    group.process.wait()


def test_both_answer_and_count_together(group):
    answered = [group.ask() for _ in range(10)]
    while len(set(answered)) < 2 and len(answered) < 2000:  # who takes a connection is the system's choice
        answered.append(group.ask())
    assert len(set(answered)) == 2
    assert set(answered) < group.children()
    assert {group.asked() for _ in range(5)} == {len(answered)}


def test_who_watches_has_no_models(group):
    assert "libtorch" not in Path(f"/proc/{group.process.pid}/maps").read_text()
    for child in group.children():
        command = Path(f"/proc/{child}/cmdline").read_text()
        assert "tracker" in command or "libtorch" in Path(f"/proc/{child}/maps").read_text()


def test_one_worker_designs_for_both(group):
    with Client(group.url) as shop:
        status = shop.submit_design("coats", user_id="anna", n=1)
        assert shop.wait_for_design(status.id, timeout=PATIENCE).state == "succeeded"
        assert shop.ready().status == "ready"
        assert 'recgan_workers{kind="design"} 1.0' in httpx.get(f"{group.url}/metrics").text


def test_one_that_is_killed_is_replaced_and_no_request_fails(group):
    killed, before = group.ask(), group.children()
    counted = group.asked()
    os.kill(killed, signal.SIGKILL)
    until(lambda: killed not in group.children())
    answered = [group.ask()]
    until(lambda: group.ask() not in before or answered.append(0), STARTED)  # type: ignore[func-returns-value]
    (new,) = group.children() - before
    assert any(f"({killed}) ended (exit code -9); it is started again" in line["message"] for line in group.lines)
    assert group.asked() == counted + len(answered) + 1  # what the dead one had counted counts on
    loaded = next(n for n, line in enumerate(group.lines) if line["process"] == new and "ready: " in line["message"])
    assert all(line["process"] != new for line in group.lines[:loaded] if "route" in line)


def test_sigterm_ends_all_of_them_with_a_stream_open(group):
    children = group.children()
    with Client(group.url) as shop:
        design = shop.submit_design("coats", user_id="anna", seed=LONG).id
    with httpx.stream("GET", f"{group.url}/v1/designs/{design}/events", timeout=PATIENCE) as stream:
        lines = stream.iter_lines()
        assert any("climbing" in line for line in lines)
        group.process.send_signal(signal.SIGTERM)
        list(lines)  # it ends by itself: the answer is whole
    assert group.process.wait(4 * PATIENCE) == 0
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    assert not [line for line in group.lines if "killed" in line["message"] or "error" in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_they_start_ends_all_of_them_without_a_traceback(bundle, tmp_path, number):
    command = [sys.executable, "-m", "tests.service_group", str(bundle), f"sqlite:///{tmp_path}/store.sqlite"]
    with subprocess.Popen(command, cwd=HERE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        # Two that answer, one that designs, and Python's tracker; each imports for seconds.
        until(lambda: len(children_of(process.pid)) == 4, STARTED)
        os.killpg(process.pid, number)  # as a terminal does, and a service manager
        assert process.stderr is not None
        told = process.stderr.read()
        assert process.wait(STARTED) == 0
    assert "Traceback" not in told
    assert "KeyboardInterrupt" not in told


def test_models_that_cannot_be_loaded_end_all_with_one_line(bundle, tmp_path):
    command = [sys.executable, "-m", "recgan.cli", "serve", "--data", str(bundle), "--recommender", str(tmp_path)]
    command += ["--store", f"sqlite:///{tmp_path}/store.sqlite", "--port", "0", "--workers", "2"]
    told = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=STARTED)
    assert told.returncode == 2
    assert f"'{tmp_path}' holds no manifest.json" in told.stderr.splitlines()[-1]
    assert "Traceback" not in told.stderr


def test_designs_in_a_thread_are_for_one_process(tmp_path):
    with pytest.raises(SettingsError, match="several workers share one process that designs"):
        service_settings(data=tmp_path, recommender=tmp_path, workers=2, design_worker="thread")
