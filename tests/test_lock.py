"""The lock files: all that is required, each with its hashes, and no word of where it came from."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

SERVE, TRAIN = "requirements-serve.txt", "requirements-train.txt"
FILES = {"requirements.lock": (SERVE, TRAIN), "requirements-serve.lock": (SERVE,)}
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in FILES}
_LINE = re.compile(r"^([a-z0-9._-]+)==([^ ]+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def versions(text):
    """Each package's versions; some have one for each version of Python."""
    found = {}
    for name, version, _ in _LINE.findall(text):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_pinned_with_hashes(name):
    lines = [line for line in TEXTS[name].splitlines() if line and not line.startswith((" ", "#"))]
    assert len(lines) == len(_LINE.findall(TEXTS[name])) > 30


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_locked_within_its_range(name):
    locked = versions(TEXTS[name])
    lines = [line for file in FILES[name] for line in (ROOT / file).read_text("utf-8").splitlines()]
    required = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    assert required
    for requirement in required:
        for version in locked[canonicalize_name(requirement.name)]:
            assert requirement.specifier.contains(version), f"run make lock: {requirement} but {version}"


def test_what_serves_is_locked_to_the_same_versions_and_brings_no_tensorflow():
    everything, serving = (versions(TEXTS[name]) for name in FILES)
    assert serving.items() <= everything.items()
    assert "tensorflow" in everything
    assert not serving.keys() & {"tensorflow", "keras", "scikit-learn"}


@pytest.mark.parametrize("name", FILES)
def test_no_address_and_no_folder_is_named(name):
    assert not re.search(r"https?:|file:|--index|--find-links|/home/|/tmp/|\\\\", TEXTS[name])
