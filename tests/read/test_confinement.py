"""What the decoder's child has of its surroundings: what it imports, knows, and can reach."""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.hostile import make

READ = (
    "import sys; from detector.read.sandbox import read_radiograph as r; print(r(open(sys.argv[1], 'rb').read()).rows)"
)

#: Stands for what a decoder could be made to run: it is imported in the child and says what it sees.
LOOK = """
import json, os, socket, sys
from detector.errors import UnreadableError
from detector.read import image_io

def look(data, on_size, on_grey):
    try:
        socket.create_connection(("127.0.0.1", int(data)), timeout=5).close()
        network = "reached"
    except OSError as error:
        network = str(error)
    seen = {"environment": dict(os.environ), "folder": os.getcwd(), "network": network, "flags": sys.flags.safe_path}
    raise UnreadableError(json.dumps(seen))

image_io.read_radiograph = look
"""


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "image.dcm"
    path.write_bytes(make.dicom())
    return path


def test_nothing_is_imported_from_the_folder_where_the_user_stands(tmp_path, picture):
    for name in ("pydicom", "json", "numpy", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'w').close()\n")
    start = "import os, sys, numpy, json; sys.path.insert(0, sys.argv[2]); sys.path = [p for p in sys.path if p]; "
    done = subprocess.run(
        [sys.executable, "-P", "-c", start + READ, picture, ROOT],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "512", done.stderr
    assert not (tmp_path / "executed").exists()


def test_python_path_of_the_user_does_not_reach_the_child(tmp_path, picture):
    started = tmp_path / "started"
    (tmp_path / "sitecustomize.py").write_text(f"print('started', file=open({str(started)!r}, 'a'))\n")
    paths = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", READ, picture], cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.strip() == "512"
    assert started.read_text().count("started") == 1  # the parent


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """What a child sees that is started here, with a secret in the environment and a server that could be reached."""
    from detector.errors import UnreadableError
    from detector.read import sandbox

    monkeypatch.setenv("PACS_PASSWORD", "a secret")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before, serve, rest = sandbox._START.partition("decoder.serve")
    monkeypatch.setattr(sandbox, "_START", f"{before}exec({LOOK!r})\n{serve}{rest}")
    child = sandbox._Child()
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(UnreadableError) as said:
            child.read(str(server.getsockname()[1]).encode())
    finally:
        child.discard()
    return json.loads(str(said.value))


def test_child_gets_no_environment_but_what_a_system_needs(seen):
    assert "a secret" not in seen["environment"].values()
    ours = {"OPENBLAS_NUM_THREADS", "OPENCV_IO_MAX_IMAGE_PIXELS", "TF_CPP_MIN_LOG_LEVEL"}
    its_own = {"GDCM_RESOURCES_PATH"}  # GDCM's import sets it in the child
    assert set(seen["environment"]) <= ours | its_own | {"LC_CTYPE", "LD_LIBRARY_PATH", "SYSTEMROOT"}


def test_child_stands_in_no_folder_of_the_user(seen):
    assert seen["folder"] == os.path.abspath(os.sep)  # noqa: PTH100
    assert seen["flags"]


def test_child_has_no_network(seen):
    ask = "from detector.read import decoder; print(decoder.leave_network())"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, check=True, capture_output=True, text=True)
    allowed = done.stdout.strip() == "True"  # elsewhere the documents say that the child has one
    assert (seen["network"] == "reached") != allowed
