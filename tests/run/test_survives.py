"""What long runs meet: kills at any moment, stops, full disks. Real processes, real signals."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT, encode

FILES = 16
KILLS = 2
_HANGS = 900  # seconds: a run that takes so long will never end, however busy the machine is
SEED = random.randrange(2**32)  # another moment in every run; said where a test fails
TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Composites of 900 pixels, each moved a little, two of one name, and a bad file."""
    folder = tmp_path_factory.mktemp("pictures")
    labels = ("covid19", "normal", "bacterial_pneumonia")
    composites = [cv2.imread(str(ROOT / "assets" / "composites" / f"{label}.png"), 0) for label in labels]
    for number in range(FILES):
        picture = cv2.resize(np.roll(composites[number % 3], number, 1), (900, 900), interpolation=cv2.INTER_CUBIC)
        (folder / f"{number:02d}.png").write_bytes(encode(picture))
    (folder / "below").mkdir()
    (folder / "below" / "03.png").write_bytes((folder / "03.png").read_bytes())
    (folder / "notes.txt").write_text("no image")
    return folder


@contextmanager
def started(pictures, out, *, resume=False):
    """The command in a process of its own, explaining into ``out/``, seen from the folder above it."""
    command = [sys.executable, "-m", "detector", "predict", pictures, "--explain", "--out", out.name]
    command += ["--resume"] if resume else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=out.parent, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_rows(out, count, process):
    """Wait until so many rows stand in the folder; whether the process still runs then."""
    path, deadline = out / "results.jsonl", time.monotonic() + _HANGS
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return True
        time.sleep(0.002)
    return False


def finish(pictures, out, *, resume=False):
    with started(pictures, out, resume=resume) as process:
        message = process.communicate(timeout=_HANGS)[1].decode()
    assert process.returncode == 0, message
    return message


def contents(folder):
    """Every file of a results folder without the times in it."""
    return {path.name: TIME.sub(b"(time)", path.read_bytes()) for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def uninterrupted(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    message = finish(pictures, out)
    assert f"{FILES + 2} files: {FILES + 1} analysed, 1 rejected, 0 failed" in message
    assert "unsupported_format 1" in message
    return contents(out)


def test_killed_at_random_moments_and_resumed_gives_what_an_uninterrupted_run_gives(pictures, uninterrupted, tmp_path):
    moments, out = random.Random(SEED), tmp_path / "out"
    killed = 0
    for part in range(KILLS):
        first_row = moments.randint(part * FILES // KILLS, (part + 1) * FILES // KILLS - 1)
        with started(pictures, out, resume=True) as process:
            if wait_for_rows(out, first_row, process):
                time.sleep(moments.uniform(0, 0.08))
                process.kill()
            killed += process.wait(timeout=_HANGS) == -signal.SIGKILL
    assert killed, f"no run was killed before its end; seed {SEED}"
    message = finish(pictures, out, resume=True)
    assert "have their row" in message
    found = contents(out)
    assert set(found) == set(uninterrupted), f"seed {SEED}"
    assert [name for name in found if found[name] != uninterrupted[name]] == [], f"seed {SEED}"


def test_terminated_while_files_are_decoded_ahead_ends_before_the_last_with_whole_rows(pictures, tmp_path):
    large, out = tmp_path / "large", tmp_path / "out"
    large.mkdir()
    picture = cv2.resize(cv2.imread(str(pictures / "00.png"), 0), (2000, 2000))
    encoded = encode(picture, ".jpg")
    for number in range(100):
        (large / f"{number:03d}.jpg").write_bytes(encoded)
    with started(large, out) as process:
        assert wait_for_rows(out, 2, process)
        process.send_signal(signal.SIGTERM)
        message = process.communicate(timeout=_HANGS)[1].decode()
    assert process.returncode == 143
    rows = [json.loads(line) for line in (out / "results.jsonl").read_bytes().splitlines()]
    assert 2 <= len(rows) < 100
    assert all((out.parent / row["saliency"]["overlay"]).exists() for row in rows)
    assert not list(out.glob("*.partial"))
    assert f"stopped: {100 - len(rows)} of 100 are left" in message
    assert "--resume" in message


@pytest.mark.parametrize("seconds", [0.1, 0.4, 1.0])
def test_terminated_soon_after_its_start_leaves_nothing_half_done(pictures, tmp_path, seconds):
    """How far it has come by then depends on the machine: imports, weights, first images. Each must end cleanly."""
    out = tmp_path / "out"
    with started(pictures, out) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        # Before Python runs our code it dies of the signal itself: a shell says 143 to both. 0: it had ended.
        assert process.wait(timeout=_HANGS) in {0, 143, -signal.SIGTERM}
    results = out / "results.jsonl"
    rows = [json.loads(line) for line in results.read_bytes().splitlines()] if results.exists() else []
    mapped = [row["saliency"] for row in rows if row.get("saliency")]
    assert all((out.parent / maps["overlay"]).exists() for maps in mapped)
    assert not out.exists() or not list(out.glob("*.partial"))


def test_full_disk_leaves_whole_rows_and_whole_maps_and_exits_4(pictures, tmp_path):
    """On a file system of its own of ten megabytes, where the sixteen images want thirty."""
    inside = tmp_path / "small"
    inside.mkdir()
    script = f"""
        mount -t tmpfs -o size=10m none {inside} || exit 99
        {sys.executable} -m detector predict {pictures} --explain --out {inside}/out --format jsonl > {tmp_path}/rows
        echo $? > {tmp_path}/status
        cp -r {inside}/out {tmp_path}/kept
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare to mount a small file system with")
    done = subprocess.run(
        [unshare, "-rm", "/bin/bash", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_HANGS,
        check=False,
    )
    if not (tmp_path / "status").exists():
        pytest.skip(f"a small file system can't be mounted here: {done.stderr}")
    assert (tmp_path / "status").read_text().strip() == "4"
    assert "Traceback" not in done.stderr
    kept = tmp_path / "kept"
    data = (kept / "results.jsonl").read_bytes()
    rows = [json.loads(line) for line in data.splitlines()]
    assert data.endswith(b"\n")
    assert 1 < len(rows) < FILES
    assert (tmp_path / "rows").read_bytes().count(b"\n") == len(rows)
    for row in rows:
        name = Path(row["saliency"]["overlay"]).name
        assert cv2.imread(str(kept / name)) is not None
        heatmap = np.load(kept / name.replace(".overlay.png", ".heatmap.npy"))
        assert heatmap.shape == (row["input"]["rows"], row["input"]["columns"])
    assert not list(kept.glob("*.partial"))
