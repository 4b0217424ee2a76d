"""The long run: ``python -m tests.fuzz FORMAT --runs 1000000`` reads changed files until the number is reached.

Files are changed at random and read in the child process with its limits, so that a crash or a hang of a C library is
counted, its file is kept, and the run goes on. A file that is refused for a reason not met before is kept too, and
changed further: so the run gets behind the first check, and the next run begins where this one ended.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from detector.errors import DecoderCrashError, DecodingLimitError, DetectorError
from detector.read import sandbox
from tests.fuzz.mutate import FORMATS, cases, seeds

BAD = {DecoderCrashError.code, DecodingLimitError.code, "escaped"}
_VALUE = re.compile(r"b?'(?:[^'\\]|\\.)*'|b?\"[^\"]*\"|-?\d[\d.e+-]*|None|\((?:\d+|None), (?:\d+|None)\)")


def run(kind, seed, *, runs, out):
    """Read `runs` changed files in the child; returns what came of them: codes, and reasons without their values."""
    codes, reasons, began = Counter(), Counter(), time.monotonic()
    corpus = [*seeds(kind), *(path.read_bytes() for path in sorted((out / "corpus" / kind).glob("*")))]
    for number, data in zip(range(runs), cases(kind, seed, corpus), strict=False):
        code, reason = outcome(data)
        codes[code] += 1
        reasons[reason] += 1
        if code in BAD:
            keep(out / f"{kind}-{seed}-{number}-{code}", data)
        elif reasons[reason] == 1:
            keep(out / "corpus" / kind / hashlib.sha256(reason.encode()).hexdigest()[:16], data)
            corpus.append(data)
        if (number + 1) % 1000 == 0:
            sys.stderr.write(f"{kind} {number + 1} {time.monotonic() - began:.0f} s, {len(reasons)} reasons\n")
    return codes, reasons


def outcome(data):
    """The code and the reason of a refusal, or "ok" and the warnings; "escaped" is what is looked for."""
    try:
        radiograph = sandbox.read_radiograph(data)
    except DetectorError as error:
        return error.code, f"{error.code}: {_VALUE.sub('…', str(error))}"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return "escaped", f"escaped: {type(error).__name__}"
    return "ok", f"ok: {_VALUE.sub('…', ' '.join(radiograph.warnings))}"


def keep(path, data):
    """Keep a file, unless there is one of that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)


def main():
    """Run, on every core; one line of JSON a format."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"{', '.join(FORMATS)} (default: all)")
    parser.add_argument("--runs", type=int, default=100_000, help="files a format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), metavar="DIR", help="where files are kept")
    options = parser.parse_args()
    bad = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for kind in options.formats or FORMATS:
            began = time.monotonic()
            part = partial(run, kind, runs=-(-options.runs // options.jobs), out=options.out)
            found = list(pool.map(part, range(options.seed, options.seed + options.jobs)))
            codes, reasons = (sum(parts, Counter()) for parts in zip(*found, strict=True))
            bad += sum(codes[code] for code in BAD)
            seconds = time.monotonic() - began
            summary = {"format": kind, "runs": codes.total(), "seconds": round(seconds, 1),
                       "hours_a_million": round(seconds / codes.total() * 1e6 / 3600, 2),
                       "reasons": sorted(reasons), "distinct_reasons": len(reasons), **codes}  # fmt: skip
            sys.stdout.write(json.dumps(summary) + "\n")
            sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
