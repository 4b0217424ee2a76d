"""The Dockerfile's own steps in a virtual environment, as its own user; the image itself where an engine runs."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from tests.browser.conftest import free_port, wait_for
from tests.conftest import COMPOSITES, ROOT
from tests.systems.conftest import run

DOCKERFILE = ROOT / "Dockerfile"
_BASE_MB = 130 + 15  # python:3.12-slim, unpacked, and the bytecode of its standard library
_LIMIT_MB = 700  # of which OpenCV, and SciPy with NumPy, have 150 each


def instructions(text):
    """A Dockerfile as pairs of instruction and arguments, lines that go on joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


STEPS = instructions(DOCKERFILE.read_text("utf-8"))


def only(name):
    """Arguments of the last instruction of a name, which is the one that counts."""
    return [arguments for instruction, arguments in STEPS if instruction == name][-1]


def reachable_python(folder):
    """An interpreter that a user without rights can run: this one, or a copy where it lies in somebody's home."""
    program, library = Path(sys.executable).resolve(), Path(os.__file__).parent
    if all(path.stat().st_mode & stat.S_IXOTH for path in (program, *program.parents)):
        return program
    (folder / "bin").mkdir(parents=True)
    shutil.copytree(
        library, folder / "lib" / library.name, ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__")
    )
    for shared in library.parent.glob("libpython*.so*"):
        shutil.copy(shared, folder / "lib")
    return Path(shutil.copy(program, folder / "bin"))


class Image:
    """What the steps make.

    Attributes:
        folder: that stands for /opt/detector.
        home: that stands for /tmp.
    """

    def __init__(self, folder):
        self.folder, self.home = folder / "opt", folder / "tmp"
        self.home.mkdir()
        self.home.chmod(0o777)
        source, self._python = folder / "source", reachable_python(folder / "python")
        for rule in (ROOT / ".dockerignore").read_text("utf-8").splitlines():  # the last one that fits decides
            path = source / rule.removeprefix("!")
            if rule.startswith("!"):
                path.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / rule[1:]).is_dir() else shutil.copy)(ROOT / rule[1:], path)
            elif "*" not in rule:
                path.unlink()
        for instruction, arguments in STEPS:
            if instruction == "RUN":
                self._step(arguments, source)

    def _step(self, command, source):
        command = re.sub(r"(?<![/\w:])python (?=-)", f"{self._python} ", command)
        for there, here in {"/opt/detector": self.folder, "/source": source}.items():
            command = command.replace(there, str(here))
        run(["bash", "-euc", command], cwd=source)

    @property
    def options(self):
        """Options of a process that stand for ENV and USER, the latter where the tests may become another user."""
        said = dict(part.split("=", 1) for part in shlex.split(only("ENV")))
        there = {name: re.sub("^/tmp", str(self.home), value) for name, value in said.items()}
        there["PATH"] = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        there["LD_LIBRARY_PATH"] = str(self._python.parents[1] / "lib")  # of a copied interpreter
        user, group = map(int, only("USER").split(":"))
        return {"cwd": self.home, "env": there} | ({"user": user, "group": group} if os.geteuid() == 0 else {})


@pytest.fixture(scope="module")
def image():
    """The steps, taken once, where a user without rights can read what they made."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Image(Path(folder))


def test_it_runs_without_root_and_publishes_on_loopback_alone():
    assert int(only("USER").split(":")[0]) > 0
    compose = (ROOT / "compose.yaml").read_text("utf-8")
    published = re.findall(r'^\s+- "([^"]+:\d+)"$', compose, re.MULTILINE)
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert compose.count("read_only: true") >= 1


def test_everything_that_is_copied_is_there():
    for instruction, arguments in STEPS:
        if instruction == "COPY" and not arguments.startswith("--from"):
            assert all((ROOT / part).exists() for part in arguments.split()[:-1])


def test_it_is_as_small_as_it_should_be(image):
    size = sum(path.stat().st_size for path in image.folder.rglob("*") if path.is_file() and not path.is_symlink())
    assert size / 1e6 + _BASE_MB <= _LIMIT_MB


def test_the_command_line_answers_as_a_user_without_rights(image):
    for path in COMPOSITES.glob("*.png"):
        shutil.copy(path, image.home)
    command = [image.folder / "bin" / "cxr-detector", "predict", image.home, "--format", "jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **image.options)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * len(list(COMPOSITES.glob("*.png")))


def test_its_command_serves_the_page_and_its_health_check_tells(image):
    port = free_port()
    command = [image.folder / "bin" / json.loads(only("ENTRYPOINT"))[0], *json.loads(only("CMD")), "--port", str(port)]
    command = [str(part).replace("0.0.0.0", "127.0.0.1") for part in command]  # noqa: S104 - here it must not
    check = json.loads(only("HEALTHCHECK").partition("CMD ")[2])
    check = [part.replace(":8501", f":{port}") for part in check]
    with subprocess.Popen(command, **image.options) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health", process)
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}/").status == 200
            assert subprocess.run(check, check=False, **image.options).returncode == 0
        finally:
            process.terminate()
    assert subprocess.run(check, check=False, stderr=subprocess.DEVNULL, **image.options).returncode != 0


def test_the_image_itself(container_engine):
    run([container_engine, "build", "--tag", "chest-xray-detector-test", "."], cwd=ROOT)
    hardened = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "ALL"]  # noqa: S108
    mount = f"{COMPOSITES}:/images:ro"
    run([container_engine, "run", *hardened, "-v", mount, "chest-xray-detector-test", "predict", "/images"], cwd=ROOT)
