"""What serving installs: every package is in the bill of materials, and no licence binds what uses it."""

import json
from pathlib import Path

from scripts.audit_packages import list_licences, list_materials
from tests.systems.conftest import run


def test_bill_of_materials_and_licences_name_what_is_installed(installed, tmp_path):
    python = Path(installed.program("python"))
    packages = {p["name"].lower() for p in json.loads(run([python, "-m", "pip", "list", "--format=json"]))}
    listed = {name.lower() for name in list_materials(python, tmp_path)}
    bill = json.loads((tmp_path / "sbom.json").read_text("utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert packages - {"pip", "setuptools"} <= listed | {bill["metadata"]["component"]["name"]}
    assert list_licences(python, tmp_path), (tmp_path / "licences.md").read_text("utf-8")
    assert "certifi" in (tmp_path / "licences.md").read_text("utf-8")
