"""The long run: ``python -m tests.fuzz FORMAT --runs 100000`` reads changed files until the number is reached.

Seeds are changed at random and read in the child process with its limits, so that a crash or a hang of a C library is
counted, its file is kept, and the run goes on.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from detector.errors import DecoderCrashError, DecodingLimitError, DetectorError
from detector.read import sandbox
from tests.fuzz.mutate import FORMATS, cases


def run(kind, runs, seed, crashes):
    """Read `runs` changed files in the child; returns what came of them."""
    outcomes, began = Counter(), time.monotonic()
    for number, data in zip(range(runs), cases(kind, seed), strict=False):
        outcome = _outcome(data)
        outcomes[outcome] += 1
        if outcome in {DecoderCrashError.code, DecodingLimitError.code, "escaped"}:
            crashes.mkdir(parents=True, exist_ok=True)
            (crashes / f"{kind}-{seed}-{number}-{outcome}").write_bytes(data)
        if (number + 1) % 1000 == 0:
            sys.stderr.write(f"\r{kind} {number + 1} {time.monotonic() - began:.0f} s {dict(outcomes)} ")
    return outcomes


def _outcome(data):
    try:
        sandbox.read_radiograph(data)
    except DetectorError as error:
        return error.code
    except Exception:  # noqa: BLE001 - this is what is looked for
        return "escaped"
    return "ok"


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"{', '.join(FORMATS)} (default: all)")
    parser.add_argument("--runs", type=int, default=100_000, help="files a format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), metavar="DIR", help="where bad files are kept")
    options = parser.parse_args()
    bad = 0
    for kind in options.formats or FORMATS:
        began = time.monotonic()
        outcomes = run(kind, options.runs, options.seed, options.out)
        bad += outcomes["escaped"] + outcomes[DecoderCrashError.code] + outcomes[DecodingLimitError.code]
        summary = {"format": kind, "runs": options.runs, "seconds": round(time.monotonic() - began), **outcomes}
        sys.stdout.write(json.dumps(summary) + "\n")
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
