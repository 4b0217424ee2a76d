"""A real Orthanc with DICOMweb on free ports, started and ended by the tests and the demonstration."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from base64 import b64encode
from pathlib import Path

PROGRAMS = ("Orthanc", "storescu", "dciodvfy", "dcmpschk")
_PLUGINS = Path("/usr/share/orthanc/plugins")
_SECONDS = 60.0


def missing():
    """Names of what is not installed here."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None and not Path("/usr/sbin", name).exists()]
    return absent + ([] if (_PLUGINS / "libOrthancDicomWeb.so").exists() else ["orthanc-dicomweb"])


def free_port():
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Orthanc:
    """One server and its database.

    Args:
        folder: of its configuration and its database.
        user: with `password`, who may ask; everyone where None.
        password: of the user.
        http: port of its web service; any free one where None.

    Attributes:
        url: of its DICOMweb service.
        dicom: port of its DIMSE service.
    """

    def __init__(self, folder, *, user=None, password=None, http=None):
        self._folder, self._access, self._process = Path(folder), (user, password), None
        self.http, self.dicom = http or free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}/dicom-web"
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = {
            "Name": "ARCHIVE", "StorageDirectory": str(self._folder / "db"), "IndexDirectory": str(self._folder / "db"),
            "HttpPort": self.http, "DicomPort": self.dicom, "DicomAet": "ARCHIVE", "RemoteAccessAllowed": False,
            "AuthenticationEnabled": user is not None, "RegisteredUsers": {user: password} if user else {},
            "DicomAlwaysAllowStore": True, "DicomAlwaysAllowEcho": True, "DicomCheckCalledAet": False,
            "HttpBindAddresses": ["127.0.0.1"], "Plugins": [str(_PLUGINS / "libOrthancDicomWeb.so")],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}, "StorageCompression": False,
            "OverwriteInstances": False, "StableAge": 1, "DicomThreadsCount": 8,
        }  # fmt: skip
        (self._folder / "orthanc.json").write_text(json.dumps(configuration))

    def start(self):
        """Start it, and wait until it answers."""
        program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
        log = (self._folder / "orthanc.log").open("ab")
        self._process = subprocess.Popen([program, str(self._folder / "orthanc.json")], stdout=log, stderr=log)
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                self.get("/system")
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self._folder / "orthanc.log").read_text()[-2000:]) from None
                time.sleep(0.1)
            else:
                return self

    def stop(self, *, kill=False):
        """End it, at once or in order."""
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait(_SECONDS)
            self._process = None

    def get(self, path):
        """JSON, or bytes, of a path of its own interface."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}")
        user, password = self._access
        if user:
            request.add_header("Authorization", "Basic " + b64encode(f"{user}:{password}".encode()).decode())
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:  # noqa: S310 - its own address
            data = reply.read()
            return json.loads(data) if "json" in reply.headers["Content-Type"] else data

    def instances(self):
        """Its instances with their tags."""
        return self.get("/instances?expand")

    def kinds(self):
        """How many instances it holds of each SOP class, by the class's name for short."""
        counts = {}
        for instance in self.instances():
            tags = self.tags(instance["ID"])
            counts[tags["Modality"]] = counts.get(tags["Modality"], 0) + 1
        return counts

    def tags(self, identifier):
        """Tags of one instance, by keyword."""
        return self.get(f"/instances/{identifier}/simplified-tags")

    def file(self, identifier):
        """The file of one instance."""
        return self.get(f"/instances/{identifier}/file")
