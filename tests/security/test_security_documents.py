"""What the documents promise is what the page says, and each threat has a test that exists."""

import re

import pytest

from detector import words
from detector.ui import guard
from tests.conftest import ROOT

SECURITY = (ROOT / "docs" / "SECURITY.md").read_text("utf-8")
ROWS = [
    line for line in SECURITY.partition("## Threats")[2].partition("## Reporting")[0].splitlines() if "`tests/" in line
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_threat_names_tests_that_exist(row):
    paths = re.findall(r"`(tests/[\w/]+\.py)`", row)
    assert paths
    assert all("def test_" in (ROOT / path).read_text("utf-8") for path in paths)


def test_every_threat_has_a_row_with_a_test():
    table = SECURITY.partition("| threat |")[2].partition("## Reporting")[0]
    assert len(ROWS) == len([line for line in table.splitlines()[2:] if line.startswith("|")])


@pytest.mark.parametrize("name", ["SECURITY.md", "privacy.md"])
def test_release_of_memory_is_promised_alike_on_the_page_and_in_the_documents(name):
    text = re.sub(r"\s+", " ", (ROOT / "docs" / name).read_text("utf-8"))
    assert words.RELEASED in text
    assert words.RELEASED in words.WELCOME_PRIVACY


def test_limits_in_the_documents_are_those_of_the_server():
    text = re.sub(r"\s+", " ", SECURITY)
    assert f"A page holds up to {guard.SESSION_BYTES // 2**30} GB of uploads" in text
    assert f"all pages together {guard.TOTAL_BYTES // 2**30} GB" in text
