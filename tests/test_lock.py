"""The lock file: all that is required, each with its hashes, and no word of where it came from."""

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

LOCK = (ROOT / "requirements.lock").read_text("utf-8")
LOCKED = re.findall(
    r"^([a-z0-9._-]+)==([^ ]+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", LOCK, re.MULTILINE
)


def test_every_line_is_pinned_with_hashes():
    names = [line for line in LOCK.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(names) == len(LOCKED) > 30


def test_every_requirement_is_locked_within_its_range():
    versions = {}
    for name, version, _ in LOCKED:
        versions.setdefault(canonicalize_name(name), []).append(version)
    names = ("requirements-serve.txt", "requirements-train.txt")
    lines = [line for name in names for line in (ROOT / name).read_text("utf-8").splitlines()]
    required = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    assert required
    for requirement in required:
        for version in versions[canonicalize_name(requirement.name)]:
            assert requirement.specifier.contains(version), f"run make lock: {requirement} but {version}"


def test_no_address_and_no_folder_is_named():
    assert not re.search(r"https?:|file:|--index|--find-links|/home/|/tmp/|\\\\", LOCK)
