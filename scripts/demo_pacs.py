"""A hospital in small on this computer: an archive, the node, a modality that sends, and where the results arrive.

It needs Orthanc with its DICOMweb plugin, DCMTK and dicom3tools (Debian: orthanc orthanc-dicomweb dcmtk dicom3tools).
The X-rays are the project's composites; no patient's picture.

python -m scripts.demo_pacs                               # and leaves everything running until Ctrl-C
python -m scripts.demo_pacs --transcript docs/pacs_transcript.md
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import cv2
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from detector.read.source import derived_uid
from detector.words import PACS_VARIABLE
from tests.systems.orthanc import Orthanc, free_port, missing

_ROOT = Path(__file__).resolve().parents[1]
_COMPOSITES = ("covid19", "normal")
_SECONDS = 300.0


class Transcript:
    """Commands and what they said, on the terminal and for a file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._parts = folder, []

    def say(self, text: str) -> None:
        """A line between the commands."""
        sys.stdout.write(f"\n{text}\n")
        self._parts.append(f"{text}\n")

    def run(self, *command: str, keep: str = "", environment: dict[str, str] | None = None) -> str:
        """Run a command; of its output, lines that match `keep` are written down."""
        done = subprocess.run(
            command, cwd=_ROOT, env=os.environ | (environment or {}), capture_output=True, text=True, check=False,
            timeout=_SECONDS,
        )  # fmt: skip
        said = [line for line in (done.stdout + done.stderr).splitlines() if re.search(keep, line)]
        shown = "\n".join([f"$ {shlex.join(command)}", *said])
        shown = shown.replace(str(self._folder), "demo").replace(sys.executable, "python")
        sys.stdout.write(shown + "\n")
        self._parts.append(f"```\n{shown}\n```\n")
        if done.returncode:
            raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr[-1000:]}")
        return done.stdout

    def text(self) -> str:
        """Everything, as Markdown."""
        head = "# An image through the hospital\n\nWritten by `python -m scripts.demo_pacs --transcript FILE`.\n"
        return "\n".join([head, *self._parts])


def write_xray(path: Path, composite: str) -> None:
    """Write a composite as a digital X-ray with the attributes that a modality gives it."""
    pixels = cv2.imread(str(_ROOT / "assets" / "composites" / f"{composite}.png"), cv2.IMREAD_GRAYSCALE)
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = DigitalXRayImageStorageForPresentation
    for level in ("Study", "Series", "SOP"):
        setattr(image, f"{level}InstanceUID", derived_uid("demonstration", composite, level))
    image.PatientName, image.PatientID, image.PatientSex = f"Composite^{composite}", f"DEMO-{composite}", "O"
    image.PatientBirthDate = image.AccessionNumber = image.StudyID = image.ReferringPhysicianName = ""
    image.StudyDate = datetime.now(UTC).strftime("%Y%m%d")
    image.StudyTime, image.Modality, image.BodyPartExamined, image.ViewPosition = "120000", "DX", "CHEST", "PA"
    image.PresentationIntentType, image.BurnedInAnnotation = "FOR PRESENTATION", "NO"
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit = 7
    image.PixelData = pixels.tobytes()
    image.save_as(path, enforce_file_format=True)


def demonstrate(folder: Path, transcript: Transcript, archive: Orthanc, node_port: int) -> None:
    """Send, wait, find, fetch, validate, ask again."""
    paths = [folder / f"{name}.dcm" for name in _COMPOSITES]
    for path, name in zip(paths, _COMPOSITES, strict=True):
        write_xray(path, name)
    transcript.say("The modality sends an image to the node, and one to the archive.")
    transcript.run(
        "storescu", "-v", "-aec", "DETECTOR", "127.0.0.1", str(node_port), str(paths[0]), keep="Status|Sending"
    )
    transcript.run("storescu", "-aec", "ARCHIVE", "127.0.0.1", str(archive.dicom), str(paths[1]))
    _await(lambda: len(archive.instances()) == 1 + 3)
    transcript.say("The node has analysed its image; its results have arrived in the archive.")
    _list(archive, transcript)
    python, url = sys.executable, ["--url", archive.url]
    transcript.say(
        "The other image is found in the archive by DICOMweb and analysed; the results are stored beside it."
    )
    transcript.run(python, "-m", "detector", "pacs", "query", *url, "--body-part", "CHEST")
    transcript.run(python, "-m", "detector", "pacs", "analyse", *url)
    transcript.say("A second run finds them there and stores nothing.")
    transcript.run(python, "-m", "detector", "pacs", "analyse", *url, keep="already there")
    _list(archive, transcript)
    transcript.say("What the archive holds is valid: no line of an error.")
    for number, instance in enumerate(archive.instances()):
        data = archive.file(instance["ID"])
        if archive.tags(instance["ID"])["Modality"] == "DX":
            continue
        result = folder / f"{number}.{dcmread(BytesIO(data), specific_tags=['Modality']).Modality}.dcm"
        result.write_bytes(data)
        transcript.run("dciodvfy", str(result), keep="^Error|^[A-Z][A-Za-z0-9]+$")
        if result.name.endswith("PR.dcm"):
            transcript.run("dcmpschk", str(result), keep="Test passed|failed")
        if result.name.endswith("SR.dcm"):
            transcript.run("dsrdump", str(result), keep="Series |Flag|Finding|Likelihood|Certainty|notice|Comment")


def _list(archive: Orthanc, transcript: Transcript) -> None:
    lines = []
    for instance in archive.instances():
        tags = archive.tags(instance["ID"])
        lines.append(f"{tags['PatientID']:<16}{tags['Modality']:<4}{tags.get('SeriesDescription', '')}".rstrip())
    transcript.say("```\n" + "\n".join(sorted(lines)) + "\n```")


def _await(condition: object) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit("The results did not arrive.")
        time.sleep(0.2)


def main() -> None:
    """Start everything, send, show, and keep it running unless a transcript is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--transcript", type=Path, metavar="FILE.md", help="write what happens, and end")
    options = parser.parse_args()
    if absent := missing():
        raise SystemExit(f"not installed: {', '.join(absent)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive, port = Orthanc(folder / "archive").start(), free_port()
        arguments = ["--aet", "DETECTOR", "--port", str(port), "--spool", str(folder / "spool")]
        arguments += ["--store-to", f"ARCHIVE@127.0.0.1:{archive.dicom}"]
        node = subprocess.Popen([sys.executable, "-m", "detector", "node", *arguments], cwd=_ROOT)
        page = None
        try:
            _await(lambda: subprocess.run(
                ["echoscu", "-aec", "DETECTOR", "127.0.0.1", str(port)], check=False, capture_output=True
            ).returncode == 0)  # fmt: skip
            transcript = Transcript(folder)
            demonstrate(folder, transcript, archive, port)
            if options.transcript is not None:
                options.transcript.write_text(transcript.text(), encoding="utf-8")
                return
            sys.stdout.write(
                json.dumps({"archive": f"http://127.0.0.1:{archive.http}", "node": port}) + "\nCtrl-C ends.\n"
            )
            page = subprocess.Popen(
                [sys.executable, "-m", "detector", "app"], cwd=_ROOT, env=os.environ | {PACS_VARIABLE: archive.url}
            )
            page.wait()
        except KeyboardInterrupt:
            pass
        finally:
            for process in filter(None, (page, node)):
                process.terminate()
                process.wait()
            archive.stop()


if __name__ == "__main__":
    main()
