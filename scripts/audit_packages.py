"""Looks over what serving installs: known vulnerabilities, licences, a bill of materials.

``make audit`` runs it. It writes ``vulnerabilities.json`` (pip-audit), ``licences.md`` (pip-licenses) and ``sbom.json``
(CycloneDX) and fails where a vulnerability is known or a licence of the GPL family appears.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-serve.lock"
_TOOLS = Path(sys.executable).parent


def fresh_environment(folder: Path) -> Path:
    """Make an environment with the program and what it depends on; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ROOT], check=True)
    return python


def list_materials(python: Path, out: Path) -> list[str]:
    """Write the bill of materials of an environment; returns the names in it."""
    path = out / "sbom.json"
    command = [_TOOLS / "cyclonedx-py", "environment", python, "--pyproject", ROOT / "pyproject.toml"]
    subprocess.run([*command, "--output-reproducible", "--output-file", path], check=True)
    return sorted(component["name"] for component in json.loads(path.read_text(encoding="utf-8"))["components"])


def list_licences(python: Path, out: Path) -> bool:
    """Write the licences of an environment; returns whether none of them is of the GPL family."""
    options = [f"--python={python}", "--format=markdown", "--order=license", f"--output-file={out / 'licences.md'}"]
    command = [_TOOLS / "pip-licenses", *options, "--from=mixed", "--partial-match", "--fail-on=GPL;General Public"]
    return subprocess.run(command, check=False).returncode == 0


def find_vulnerabilities(lock: Path, out: Path) -> tuple[int, int]:
    """Ask the index about the versions of a lock file; returns how many are vulnerable, and how many it doesn't know.

    Where no index answers, it knows none of them.
    """
    path = out / "vulnerabilities.json"
    path.unlink(missing_ok=True)
    options = ["--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json", f"--output={path}"]
    subprocess.run([sys.executable, "-m", "pip_audit", "-r", lock, *options], check=False, capture_output=True)
    if not path.exists():
        return 0, lock.read_text(encoding="utf-8").count("==")
    packages = json.loads(path.read_text(encoding="utf-8"))["dependencies"]
    return sum(bool(p.get("vulns")) for p in packages), sum("skip_reason" in p for p in packages)


def main() -> int:
    """Look everything over; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "audit", metavar="DIR")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        python = fresh_environment(Path(folder))
        materials, permissive = list_materials(python, out), list_licences(python, out)
    vulnerable, unknown = find_vulnerabilities(LOCK, out)
    print(f"{len(materials)} packages; licences in {out / 'licences.md'}, bill of materials in {out / 'sbom.json'}")
    print(f"{vulnerable} packages with known vulnerabilities; {unknown} that the index knows nothing about")
    return 0 if permissive and not vulnerable else 1


if __name__ == "__main__":
    sys.exit(main())
