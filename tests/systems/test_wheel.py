"""The wheel in an empty environment: it answers as the checkout does, and its page is private in whatever folder."""

import json
import socket
import subprocess
import tomllib
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from detector.cli.main import main
from tests.browser.conftest import free_port, opened, wait_for
from tests.conftest import COMPOSITES, ROOT
from tests.systems.conftest import run

#: What a folder may hold that a user starts the page in: settings of another program, the opposite of ours.
HOSTILE_SETTINGS = """
[server]
address = "0.0.0.0"
[browser]
gatherUsageStats = true
[theme]
base = "light"
backgroundColor = "#FF0000"
"""


def test_the_wheel_holds_what_the_program_reads_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (("models", "*"), ("assets/composites", "*.png"), ("assets", "*.js"), ("assets", "*.css")):
        for path in (ROOT / folder).glob(pattern):
            assert path.is_dir() or f"detector/home/{path.relative_to(ROOT)}" in names
    assert {"detector/py.typed", "detector/home/streamlit_app.py", "detector/home/.streamlit/dark.toml"} <= names
    assert {name.split("/")[0] for name in names} <= {"detector", wheel.name.rsplit("-", 3)[0] + ".dist-info"}
    assert not [name for name in names if "screenshots" in name]


def test_it_depends_on_what_serving_needs_and_tensorflow_is_not_there(installed):
    packages = {package["name"] for package in json.loads(run([installed.program("pip"), "list", "--format=json"]))}
    assert "ai-edge-litert" in packages
    assert not packages & {"tensorflow", "keras", "scikit-learn", "pytest"}


def test_predict_answers_as_the_checkout_does(installed, tmp_path, capsysbinary):
    arguments = ["predict", COMPOSITES, "--explain", "--format", "jsonl", "--out"]
    printed = run([installed.program("cxr-detector"), *arguments, tmp_path / "wheel"], cwd=tmp_path)
    assert main([str(part) for part in (*arguments, tmp_path / "checkout")]) == 0
    theirs, ours = (
        {row["path"]: row for row in map(json.loads, text.splitlines())}
        for text in (printed, capsysbinary.readouterr().out)
    )
    assert len(theirs) == len(list(COMPOSITES.iterdir())) == 3
    assert theirs.keys() == ours.keys()
    for path, row in theirs.items():
        assert row["decision"] == ours[path]["decision"]
        assert row["probabilities"] == pytest.approx(ours[path]["probabilities"], abs=1e-6)
        assert row["model"] == ours[path]["model"]
    assert (tmp_path / "wheel" / "gallery.html").exists()


def test_a_command_that_trains_says_which_extra_it_needs(installed, tmp_path):
    (tmp_path / "manifest.csv").write_text("image,label\n")
    done = subprocess.run(
        [installed.program("cxr-detector"), "train", "--manifest", "manifest.csv"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "chest-xray-detector[train]" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def page_of(environment, folder):
    """The page, started by the installed program in a folder; yields its address and port."""
    port = free_port()
    command = [environment.program("cxr-detector"), "app", "--no-browser", "--port", str(port)]
    with (folder / "log").open("w") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
            yield f"http://127.0.0.1:{port}", port
        finally:
            process.terminate()


@pytest.mark.browser
def test_the_page_is_on_loopback_silent_and_dark_in_a_folder_that_says_otherwise(installed, tmp_path, tab):
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text(HOSTILE_SETTINGS)
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    with page_of(installed, tmp_path) as (address, port):
        assert listening(port) == {"127.0.0.1"}
        opened(tab, address)
        colour = tab.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
        icon = tab.evaluate("document.querySelector('link[rel~=icon]').href")
        assert urllib.request.urlopen(icon).read() == (ROOT / "assets" / "logo.svg").read_bytes()  # noqa: S310 - our own
    dark = tomllib.loads((ROOT / ".streamlit" / "dark.toml").read_text())["theme"]["backgroundColor"]
    assert colour == "rgb({}, {}, {})".format(*bytes.fromhex(dark.removeprefix("#")))
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:", f"ws://127.0.0.1:{port}"))]


def listening(port):
    """Addresses on which this machine takes connections to a port, as the kernel lists them."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    lines += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    local = [line[1].split(":") for line in lines if line[3] == "0A"]
    return {
        socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address
        for address, at in local
        if int(at, 16) == port
    }
