"""An environment made from requirements-serve.txt alone serves everything: page, command line, gallery, PDF, DICOM."""

import json
from pathlib import Path

import pytest

from tests.conftest import COMPOSITES, ROOT
from tests.systems.conftest import Environment, run

_DOWNLOAD_MB = 300
_SERVING = ["tests/report", "tests/run/test_integrity.py", "tests/ui/test_app.py"]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """What requirements-serve.txt makes pip download."""
    environment = Environment(tmp_path_factory.mktemp("download") / "environment")
    folder = environment.folder / "packages"
    environment.pip("download", "--only-binary", ":all:", "--dest", folder, "-r", ROOT / "requirements-serve.txt")
    return folder


@pytest.fixture(scope="module")
def serving(packages, tmp_path_factory):
    """An environment with these packages and no others."""
    environment = Environment(tmp_path_factory.mktemp("serving") / "environment")
    environment.pip("install", "--no-index", "--find-links", packages, "-r", ROOT / "requirements-serve.txt")
    return environment


def test_the_download_is_small_enough_for_a_clinic(packages):
    megabytes = {path.name: path.stat().st_size / 1e6 for path in packages.iterdir()}
    largest = sorted(megabytes.items(), key=lambda item: -item[1])[:5]
    assert sum(megabytes.values()) <= _DOWNLOAD_MB, largest


def test_predict_explains_and_writes_a_gallery(serving, tmp_path):
    command = [serving.program("python"), "-m", "detector", "predict", COMPOSITES, "--explain", "--format", "jsonl"]
    rows = [json.loads(line) for line in run([*command, "--out", tmp_path], cwd=ROOT).splitlines()]
    decisions = {Path(row["path"]).name: row["decision"] for row in rows}
    assert len(decisions) == 3
    assert decisions["covid19.png"] == "covid19"
    assert all(row["saliency"] and row["versions"]["ai-edge-litert"] for row in rows)
    assert (tmp_path / "gallery.html").exists()


def test_a_command_that_needs_gradients_says_what_is_missing(serving, tmp_path):
    (tmp_path / "manifest.csv").write_text("image,label\n")
    command = [serving.program("python"), "-m", "detector", "train", "--manifest", tmp_path / "manifest.csv"]
    assert run(command, cwd=ROOT, status=2) == ""


def test_the_tests_of_what_serves_pass_without_tensorflow(serving):
    serving.pip("install", "pytest", "hypothesis")
    assert (
        run([serving.program("python"), "-c", "import importlib.util as u; print(u.find_spec('tensorflow'))"])
        == "None\n"
    )
    run([serving.program("python"), "-m", "pytest", "-q", *_SERVING], cwd=ROOT)
