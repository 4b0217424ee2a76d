"""Every line of the catalogue: what comes of it, how long it takes, and how much the serving process grows."""

import json
import subprocess
import sys

import pytest

from detector.errors import refusals
from detector.schema import TASKS
from tests.conftest import ROOT
from tests.hostile import make
from tests.hostile.catalogue import CATALOGUE

MOST_SECONDS = 10  # what goes wrong here takes minutes; how fast it goes right is for the benchmarks
MOST_MEGABYTES = 100
BY_ID = {line.id: line for line in CATALOGUE}
#: Refusals that no file can cause by itself, and where they are tested instead.
ELSEWHERE = {
    "decoder_crash": "tests/read/test_sandbox.py",
    **dict.fromkeys(("excluded", "view_position", "body_part"), "tests/pacs/test_selection.py"),
    "unreadable_path": "tests/hostile/test_folder.py",
    "not_a_chest_xray": "tests/hostile/test_gate_lines.py",
}


@pytest.fixture(scope="session")
def measured():
    """What a process that reads the whole catalogue says about each line."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.measure"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return {row["id"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_names_are_unique():
    assert len(BY_ID) == len(CATALOGUE)


@pytest.mark.parametrize("line", CATALOGUE, ids=BY_ID)
def test_outcome(measured, line):
    row = measured[line.id]
    assert row["code"] == line.outcome, row
    if line.outcome != "ok":
        assert row["reason"].endswith(".")
    elif line.warning is None:
        assert row["warnings"] == []
    else:
        (warning,) = row["warnings"]
        assert line.warning in warning


@pytest.mark.parametrize("line", CATALOGUE, ids=BY_ID)
def test_cost(measured, line):
    row = measured[line.id]
    assert row["seconds"] <= MOST_SECONDS
    assert row["growth"] is None or row["growth"] <= MOST_MEGABYTES


def test_every_refusal_has_its_line():
    assert refusals().keys() == {line.outcome for line in CATALOGUE} - {"ok"} | ELSEWHERE.keys()


def logits(data, engine):
    from detector.answers.pipeline import analyse

    found = analyse(data, engine).logits
    return [found[task.name].tolist() for task in TASKS]


@pytest.mark.parametrize(
    ("line", "twin"),
    [
        *[(f"16-orientation_{number}.jpg", "16-orientation_1.jpg") for number in range(2, 9)],
        ("19-archive_behind.jpg", make.jpeg),
        *[
            (f"29-{name}.dcm", "34-monochrome2.dcm")
            for name in ("RLELossless", "JPEGLSLossless", "JPEG2000Lossless", "JPEGLossless", "JPEGLosslessSV1")
        ],
        *[(line.id, "34-monochrome2.dcm") for line in CATALOGUE if line.number in {"31", "36", "38"}],
        ("34-monochrome1.dcm", "34-monochrome2.dcm"),
        ("39a-inverse.dcm", "34-monochrome2.dcm"),
        ("39a-raw.dcm", "34-monochrome2.dcm"),
        ("8-text_bomb.png", make.png),
        ("3-png_named.dcm", make.png),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)  # fmt: skip
def test_twins_have_identical_logits(engine, line, twin):
    other = BY_ID[twin].make() if isinstance(twin, str) else twin()
    assert logits(BY_ID[line].make(), engine) == logits(other, engine)
