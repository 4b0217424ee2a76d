"""``python -m detector``."""

import os
import sys

from detector.cli.main import main, stopped_by_signal

status = main()
if stopped_by_signal(status):
    os._exit(status)  # everything is written; a thread that still decodes, or waits for a disk, is not waited for
sys.exit(status)
