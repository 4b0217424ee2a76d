"""``python -m detector``."""

from detector.cli.main import run

run()
