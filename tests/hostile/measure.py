"""Reads every file of the catalogue in one process, as the page would, and prints a JSON line each: outcome and cost.

Run as ``python -m tests.hostile.measure``. The process holds no TensorFlow, so that 100 MB of growth are seen.
"""

import json
import sys
import time
from pathlib import Path

from detector.errors import RejectedError
from detector.read import sandbox
from detector.read.image_io import name_warnings
from tests.hostile.catalogue import CATALOGUE


def peak_megabytes():
    """Highest resident memory since `forget_peak`; None where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    (line,) = (line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def forget_peak():
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5", "ascii")


def read(data, name):
    try:
        radiograph = sandbox.read_radiograph(data)
    except RejectedError as error:
        return error.code, error.user_message, []
    return "ok", None, [*radiograph.warnings, *name_warnings(name, radiograph.file_format)]


def main():
    sandbox.read_radiograph(CATALOGUE[4].make())  # the child is warm, as on a page that has shown its example
    for line in CATALOGUE:
        data = line.make()
        forget_peak()
        before, began = peak_megabytes(), time.monotonic()
        code, reason, warnings = read(data, line.name)
        seconds, after = time.monotonic() - began, peak_megabytes()
        del data
        row = {"id": line.id, "code": code, "reason": reason, "warnings": warnings, "seconds": seconds}
        sys.stdout.write(json.dumps({**row, "growth": None if before is None else after - before}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
