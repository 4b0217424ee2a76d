"""``app``: open the page."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, Any

from detector.paths import PAGE, PAGE_SETTINGS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from detector.cli.common import Commands

LOOPBACK = "127.0.0.1"


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("app", help="open the page on this computer")
    parser.add_argument("--port", type=int, default=8501, help="of this computer (default: 8501)")
    parser.add_argument("--light", action="store_true", help="the light theme instead of the dark one")
    parser.add_argument("--no-browser", action="store_true", help="start the server and open no browser")
    parser.add_argument(
        "--address", default=LOOPBACK,
        help="listen elsewhere than on loopback; inside a container alone, where only its host can reach it",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Become the page's server; returns an exit status only where a process can't be replaced by another."""
    command = server_command(
        port=options.port, light=options.light, browser=not options.no_browser, address=options.address
    )
    if os.name != "nt":  # there the new process would run on by itself in the background
        os.execv(command[0], command)  # noqa: S606 - our own arguments
    return subprocess.call(command)  # noqa: S603 - our own arguments


def server_command(*, port: int, light: bool = False, browser: bool = True, address: str = LOOPBACK) -> list[str]:
    """The command that serves the page with the program's own settings, whatever folder it is started in.

    Streamlit looks for settings in the working directory and in the user's home. A setting on its command line goes
    before both, so that neither can put the page on a network or have it send statistics.
    """
    settings = tomllib.loads((PAGE_SETTINGS / "config.toml").read_text(encoding="utf-8"))
    theme = PAGE_SETTINGS / ("light.toml" if light else "dark.toml")
    settings["theme"] = tomllib.loads(theme.read_text(encoding="utf-8"))["theme"]  # a base alone gives way to a folder
    settings["server"] |= {"address": address, "port": port, "headless": not browser}
    flags = [f"--{name}={value}" for name, value in _flat(settings)]
    return [sys.executable, "-m", "streamlit", "run", str(PAGE), *flags]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their full names, ``section.name``, as Streamlit's command line reads them: a list is repeated."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from ((f"{prefix}{name}", str(each)) for each in value)
        else:
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else str(value)
