"""The soak says what it promises, in seconds, and tells a service that leaks or fails from one that does not."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import loaded_benchmark


@pytest.fixture(scope="module")
def benchmark():
    """The benchmark's module."""
    with loaded_benchmark("soak") as module:
        yield module


def test_the_service_is_under_a_mixed_load_and_is_watched(benchmark, tmp_path):
    arguments = ["--minutes", "0.2", "--rate", "40", "--limit", "1000", "--folder", str(tmp_path)]
    told = benchmark.main([*arguments, "--json", str(tmp_path / "out.json")])
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(json.dumps(told))
    assert (told["missed"], told["failures"]) == ([], [])
    roles = Counter(name.rpartition(" ")[0] for name in told["processes"])
    assert roles == {"supervisor": 1, "web": 2, "designs": 1, "resource tracker": 1}
    for held in told["processes"].values():
        assert all(0 < pss <= rss for pss, rss in zip(held["pss_mb"], held["rss_mb"]))
        assert min(held["descriptors"]) > 2
    for place in range(2):
        parts = sum(held["rss_mb"][place] for held in told["processes"].values())
        assert told["in_all"]["rss_mb"][place] == pytest.approx(parts, rel=0.1)
    assert len(told["samples"]) >= 5
    requests = told["requests"]
    assert requests["recommendations"].keys() == {"200"}
    assert requests["events"].keys() == {"201"}
    assert requests["designs"]["202"] > 0
    assert requests["streams"]["200"] > 0
    assert all(400 <= int(status) < 500 for status in requests["mistakes"])


def held(rss: float, descriptors: int = 20, pid: int = 7) -> dict:
    """What one process holds."""
    from serving.processes import Usage

    return {pid: Usage(rss, rss / 2, descriptors)}


def judged(*processes: dict) -> dict:
    """What is found of samples that are ten seconds apart."""
    from serving.soak import Sample, found

    samples = [Sample(10.0 * place, one) for place, one in enumerate(processes)]
    roles = {pid: "web" for one in processes for pid in one}
    return found(samples, roles, limit=5.0)


def test_growth_counts_from_the_second_minute_to_the_last(benchmark):
    # 0 to 50 s: starting; 60 to 110 s: 100 MB; then 104 MB, but for one moment, to 300 s.
    told = judged(*[held(10)] * 6, *[held(100)] * 6, *[held(104)] * 17, held(900), held(104))
    assert told["in_all"]["rss_mb"] == [100, 104]
    assert told["in_all"]["rss_growth_percent"] == 4.0
    assert told["processes"]["web 7"]["pss_mb"] == [50, 52]
    assert told["missed"] == []


def test_what_grows_leaks_or_ends_has_missed_the_aim(benchmark):
    early = [held(100)] * 12
    (grown,) = judged(*early, *[held(105)] * 18)["missed"]
    assert "memory grew by 5%" in grown
    (leaking,) = judged(*early, *[held(100, 37)] * 18)["missed"]
    assert leaking == "web 7 has 37 descriptors at the end, 20 after the first minute"
    assert judged(*early, *[held(100, 36)] * 18)["missed"] == []
    (ended,) = judged(*[{**held(100), **held(10, pid=8)}] * 20, *[{**held(100), **held(10, pid=9)}] * 10)["missed"]
    assert ended == "a process ended, or another came"


@pytest.fixture
def broken_service() -> Iterator[str]:
    """A service that lists what it has, and cannot do more than that."""

    class Broken(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            lists = {
                "/v1/users?limit=500": {"users": ["anna"]},
                "/v1/items?limit=500": {"items": [{"item_id": "plain", "image_url": "/plain"}]},
                "/v1/categories": {"categories": [{"name": "coats", "designable": True}]},
            }
            told = lists.get(self.path)
            body = json.dumps(told or {"detail": "out of order"}).encode()
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(500 if told is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_answer_of_5xx_is_a_failure(benchmark, broken_service):
    from serving.mixture import Mixture

    mixture = Mixture(broken_service, "key", rate=200)
    mixture.run(2)
    assert mixture.statuses["recommendations"].keys() == {"500"}
    assert mixture.statuses["designs"].keys() == {"500"}
    assert any("/recommendations" in one and "500" in one and "out of order" in one for one in mixture.failures)
    assert len(mixture.failures) <= 20


def test_only_this_machine_is_asked(benchmark):
    from serving.mixture import Mixture

    with pytest.raises(SystemExit, match="not on this machine"):
        Mixture("http://192.0.2.1:80", "key", rate=1)
