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


def find_vulnerabilities(lock: Path, out: Path) -> dict[str, list[str] | None]:
    """Ask the package index about the versions of a lock file.

    Returns:
        Name of a package to its known vulnerabilities; None where the index doesn't know the version, as where no
        index answers or it is a mirror that only hands out files.
    """
    path = out / "vulnerabilities.json"
    path.unlink(missing_ok=True)
    options = ["--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json", f"--output={path}"]
    subprocess.run([sys.executable, "-m", "pip_audit", "-r", lock, *options], check=False, capture_output=True)
    if not path.exists():
        pinned = (line.partition("==") for line in lock.read_text(encoding="utf-8").splitlines())
        return {name: None for name, equals, _ in pinned if equals}
    packages = json.loads(path.read_text(encoding="utf-8"))["dependencies"]
    return {p["name"]: None if "skip_reason" in p else [v["id"] for v in p["vulns"]] for p in packages}


def told(found: dict[str, list[str] | None]) -> str:
    """What was found, without a claim about what was not looked at."""
    unknown = sorted(name for name, known in found.items() if known is None)
    if len(unknown) == len(found):
        return f"Vulnerabilities were not looked for: no package index told of any of {len(found)} packages."
    lines = [f"{name}: {', '.join(known)}" for name, known in sorted(found.items()) if known]
    lines.append(f"{len(lines)} of {len(found) - len(unknown)} packages have known vulnerabilities.")
    return "\n".join([*lines, *([f"Not looked at: {', '.join(unknown)}."] if unknown else [])])


def main() -> int:
    """Look everything over; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "audit", metavar="DIR")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        python = fresh_environment(Path(folder))
        materials, permissive = list_materials(python, out), list_licences(python, out)
    found = find_vulnerabilities(LOCK, out)
    print(f"{len(materials)} packages; licences in {out / 'licences.md'}, bill of materials in {out / 'sbom.json'}")
    print(told(found))
    return 0 if permissive and not any(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
