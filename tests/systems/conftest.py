"""Tests that need system packages or an environment of their own: they run when they are asked for, by their marker."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.conftest import chromium, tab, window  # noqa: F401 - fixtures
from tests.conftest import ROOT


def pytest_collection_modifyitems(items):
    """Mark everything below this folder, so that no test here can forget it."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.systems)


class Environment:
    """A virtual environment of its own.

    Attributes:
        folder: of the environment.
    """

    def __init__(self, folder):
        self.folder = folder
        run([sys.executable, "-m", "venv", folder])

    def program(self, name):
        """Path of a program that is installed there."""
        return str(self.folder / "bin" / name)

    def pip(self, *arguments):
        """Run the environment's pip."""
        run([self.program("python"), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])


#: Of the environment: what a user's shell or a container's build does not have.
_NOT_KEPT = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}


def run(command, *, cwd=None, status=0, **environment):
    """Run a command outside the checkout, so that nothing of it is imported; returns its standard output.

    Raises:
        RuntimeError: with what it said, if it ends with another status.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_KEPT}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd or Path(sys.prefix), env=kept | environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    if done.returncode != status:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT])
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """An empty environment with the wheel and what it depends on."""
    environment = Environment(tmp_path_factory.mktemp("installed") / "environment")
    environment.pip("install", "--no-compile", wheel)  # most of it is never run here
    return environment


@pytest.fixture(scope="session")
def container_engine():
    """The command of a container engine that runs; where none does, the tests of the image itself are left out."""
    for name in filter(shutil.which, ("docker", "podman")):
        if subprocess.run([name, "info"], capture_output=True, check=False).returncode == 0:
            return name
    return pytest.skip(
        "no container engine runs: the base image, the user, the read-only file system, the published port and the "
        "health check's interval stay unchecked; the Dockerfile's own steps are checked without"
    )
