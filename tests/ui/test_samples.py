"""The samples button's engine, against a server on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from detector.errors import SampleCacheError, SampleDownloadError, SampleNetworkError
from detector.ui.samples import CACHE_VARIABLE, Sample, fetch, listed_samples

CONTENT = b"a published radiograph"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server that counts what it gives; the cache is the test's own."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404 if "missing" in self.path else 200)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *_):
            """Keep the test's output quiet."""

    http = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield http, asked
    http.shutdown()
    http.server_close()


def sample_at(http, path="/x.jpg", content=CONTENT):
    address = f"http://127.0.0.1:{http.server_port}{path}"
    return Sample("x.jpg", "covid19", hashlib.sha256(content).hexdigest(), address, "CC BY 4.0")


def test_fetched_once_then_read_from_the_cache(server):
    http, asked = server
    assert fetch(sample_at(http)) == CONTENT
    assert fetch(sample_at(http)) == CONTENT
    assert asked == ["/x.jpg"]


def test_another_file_than_the_pinned_one_is_refused_and_not_kept(server):
    http, _ = server
    with pytest.raises(SampleDownloadError):
        fetch(sample_at(http, content=b"what was pinned"))
    assert fetch(sample_at(http)) == CONTENT


def test_missing_file_is_said(server):
    http, _ = server
    with pytest.raises(SampleDownloadError) as caught:
        fetch(sample_at(http, "/missing.jpg"))
    assert "internet" not in caught.value.user_message


def test_cache_that_cannot_be_written_is_said(server, tmp_path, monkeypatch):
    http, _ = server
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "below"))
    with pytest.raises(SampleCacheError):
        fetch(sample_at(http))


def test_no_network_is_said(server):
    http, _ = server
    sample = sample_at(http)
    http.shutdown()
    http.server_close()
    with pytest.raises(SampleNetworkError) as caught:
        fetch(sample)
    assert "internet" in caught.value.user_message


def test_listed_samples_are_pinned_and_licensed():
    samples = listed_samples()
    assert len(samples) >= 3
    for sample in samples:
        assert sample.address.startswith("https://")
        assert len(sample.sha256) == 64
        assert sample.licence
