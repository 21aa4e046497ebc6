"""The service's benchmark says what it promises, at a size that takes seconds."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import loaded_benchmark


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark's module."""
    with loaded_benchmark("service") as module:
        yield module


def test_the_service_is_asked_and_measured(benchmark, tmp_path):
    arguments = ["--scale", "tiny", "--workers", "1", "--rates", "50", "--seconds", "2", "--folder", str(tmp_path)]
    benchmark.main([*arguments, "--json", str(tmp_path / "out.json")])
    told = json.loads((tmp_path / "out.json").read_text())
    (run,) = told["runs"]
    assert (told["items"], told["users"], run["workers"], run["offered_per_s"]) == (500, 2_000, 1, 50.0)
    assert run["statuses"] == {"200": 100}
    assert run["requests_by_process"] == [100]
    assert 0 < run["p50_ms"] <= run["p99_ms"] <= run["p100_ms"]
    assert run["cpu_ms_a_request"] > 0
    assert 0 < run["pss_mb"] <= run["rss_mb"]


@pytest.mark.parametrize("name", ["service", "soak"])
def test_it_runs_as_a_script_from_anywhere_though_it_is_called_as_a_package(name, tmp_path):
    script = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    told = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "--workers" in told.stdout


def test_what_no_number_of_processes_reaches_is_missed(benchmark):
    from serving.bench import missed

    def run(p99, rate=300.0, designs=False, statuses=("200",)):
        return {"designs": designs, "offered_per_s": rate, "p99_ms": p99, "statuses": dict.fromkeys(statuses, 1)}

    assert missed([run(90.0), run(59.0), run(500.0, 100.0), run(200.0, 100.0, designs=True)]) == []
    assert missed([run(90.0), run(60.0)]) == ["300 requests/s: p99 60 ms at best; the aim is under 60 ms"]
    assert missed([run(10.0, statuses=("200", "failed"))]) != []
    assert missed([run(300.0, 100.0, designs=True)]) == [
        "100 requests/s beside a design: p99 300 ms at best; the aim is under 250 ms"
    ]
    assert missed([run(900.0, 200.0)]) == []


@pytest.fixture
def slow_server() -> Iterator[str]:
    """A server with one thing to do at a time, a tenth of a second each; every third time it breaks off."""
    started = threading.Event()
    found: list[str] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        lock, count = asyncio.Lock(), 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            while await reader.readuntil(b"\r\n\r\n"):
                async with lock:
                    count += 1
                    await asyncio.sleep(0.1)
                    if count % 3 == 0:
                        break
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            writer.close()

        async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answer(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_server(quietly, "127.0.0.1", 0)
        found.append(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        started.set()

    thread = threading.Thread(target=lambda: (loop.run_until_complete(serve()), loop.run_forever()))
    thread.start()
    assert started.wait(30)
    yield found[0]

    async def end() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run_coroutine_threadsafe(end(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_waiting_counts_and_so_does_what_fails(benchmark, slow_server):
    from serving.load import apply_load

    outcome = apply_load(slow_server, ["/"] * 9, rate=1000, connections=9)
    assert outcome.statuses == {"200": 6, "failed": 3}
    # All are due at once: the last waits for the eight before it, whenever it was sent.
    assert max(outcome.times) >= 0.7
    assert sorted(outcome.times)[0] >= 0.1
    assert outcome.figures()["offered_per_s"] == 1000


def test_only_this_machine_is_asked(benchmark):
    from serving.load import apply_load

    with pytest.raises(SystemExit, match="not on this machine"):
        apply_load("http://192.0.2.1:80", ["/"], rate=1)
