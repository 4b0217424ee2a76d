"""``python -m tests.benchmarks``: measure, print a table, write ``benchmarks.json``. Minutes; on a machine at rest."""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.measure import as_json, machine
from tests.benchmarks.rows import ROWS
from tests.conftest import ROOT


def main(arguments=None):
    """Measure the rows that were asked for, each in a process of its own."""
    options = _parser().parse_args(arguments)
    if options.one:
        sys.stdout.write(as_json(ROWS[options.one].measure(options.repeats)))
        return 0
    taken = {"machine": machine(), "taken_at": datetime.now(UTC).isoformat(timespec="seconds"), "rows": {}}
    for name in options.rows or ROWS:
        taken["rows"][name] = _measured(name, options.repeats)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(as_json(taken))
        sys.stdout.write(_line(taken["rows"][name]) + "\n")
        sys.stdout.flush()
    return 0 if all(row.get("reached") for row in taken["rows"].values()) else 1


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all without it")
    parser.add_argument("--repeats", type=int, default=20, metavar="N", help="pairs a ratio; 1 is a trial run")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks.json"), metavar="FILE")
    parser.add_argument("--one", choices=list(ROWS), help=argparse.SUPPRESS)
    return parser


def _measured(name, repeats):
    """The row measured in a fresh process: threads, caches and memory are nobody else's."""
    command = [sys.executable, "-m", "tests.benchmarks", "--one", name, "--repeats", str(repeats)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    row = ROWS[name]
    about = {"what": row.what, "reach": row.reach, "then": row.then, "unit": row.unit, "at_least": row.at_least}
    if done.returncode:
        return {**about, "failed": done.stderr[-2000:]}
    figures = json.loads(done.stdout)
    value = figures[row.figure]
    reached = row.reached(value) and not figures.get("errors") and not figures.get("mixed_up")
    return {**about, "value": value, "reached": reached, "figures": figures}


def _line(row):
    if "failed" in row:
        return f"{row['what']:<55} failed: {row['failed'].strip().splitlines()[-1]}"
    limit = f"{'≥' if row['at_least'] else '≤'} {row['reach']:g}, then {row['then']:g}"
    strictest = row["figures"].get("strictest")
    told = "" if strictest is None else f"(against the fastest baseline {strictest:.2f})"
    verdict = "" if row["reached"] else "missed"
    return f"{row['what']:<55} {row['value']:8.2f} {row['unit']:<3} {limit:<18} {verdict:<7} {told}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
