"""What `make audit` says: what was found, and what was not looked at."""

import pytest

from scripts.audit_packages import LOCK, find_vulnerabilities, told


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"a": [], "b": []}, "0 of 2 packages have known vulnerabilities."),
        ({"a": ["X-1", "X-2"], "b": []}, "a: X-1, X-2\n1 of 2 packages have known vulnerabilities."),
        ({"a": [], "b": None}, "0 of 1 packages have known vulnerabilities.\nNot looked at: b."),
        ({"a": None, "b": None}, "Vulnerabilities were not looked for: no package index told of any of 2 packages."),
    ],
    ids=["none", "two of one package", "one unknown", "no index"],
)
def test_nothing_is_said_of_what_was_not_looked_at(found, said):
    assert told(found) == said


def test_every_pinned_package_is_unknown_where_the_audit_gives_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("scripts.audit_packages.subprocess.run", lambda *_, **__: None)
    found = find_vulnerabilities(LOCK, tmp_path)
    assert {"numpy", "streamlit", "ai-edge-litert"} <= found.keys()
    assert set(found.values()) == {None}
