"""``node``: a DICOM node that is sent X-rays and sends results back."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from detector.answers.answer import Question
from detector.cli import common
from detector.errors import OutputError
from detector.model.card import read_card
from detector.read import sandbox
from detector.schema import NOTICE

if TYPE_CHECKING:
    from detector.pacs.node import Allowed, Peer, Settings

_LOG = logging.getLogger("detector")
_TITLE = r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?"  # PS3.5 section 6.2, AE
_PEER = re.compile(rf"({_TITLE})@(.+):(\d{{1,5}})")
_NOT_HERE = (
    "Results would leave this computer for %s. This is a research demonstration: add --research-only-confirmed if the "
    "receiving archive is not used for patients' care."
)


def add(commands: common.Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("node", help="receive X-rays by DICOM and send results back", epilog=NOTICE)
    parser.add_argument("--aet", type=_title, required=True, metavar="TITLE", help="this node's AE title")
    parser.add_argument("--port", type=int, required=True, metavar="N", help="to listen on; 0 for any")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (this computer alone)")
    parser.add_argument("--store-to", type=_peer, required=True, metavar="AET@HOST:PORT", help="where results go")
    parser.add_argument(
        "--spool", type=Path, default=Path("out/node"), metavar="DIR", help="unfinished work, and the audit log"
    )
    parser.add_argument(
        "--allow", type=_allowed, action="append", default=[], metavar="AET[@ADDRESS]", help="who may send (everyone)"
    )
    parser.add_argument("--exclude", type=Path, metavar="FILE", help="patient IDs to leave out, one a line")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="images analysed at once (3)")
    parser.add_argument("--tls", nargs=3, type=Path, metavar=("CERT", "KEY", "CA"), help="PEM files; both ways")
    parser.add_argument(
        "--research-only-confirmed", action="store_true", help="results may go to another computer, for research alone"
    )
    common.add_question(parser)
    common.add_site(parser)
    common.add_model(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; returns its exit status, 143 after SIGTERM."""
    if not options.store_to.is_local and not options.research_only_confirmed:
        _LOG.error(_NOT_HERE, options.store_to.host)
        return common.EXIT_USAGE
    if options.exclude is not None and not options.exclude.is_file():
        _LOG.error("There is no exclusion list %s.", options.exclude)
        return common.EXIT_USAGE
    read_card(options.models / f"{options.model}.json")
    sandbox.warm_up()
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.pacs.node import Node, run_until  # noqa: PLC0415
    from detector.pacs.spool import Spool  # noqa: PLC0415

    stop = common.stop_on_signals()
    engine = Engine.load(options.model, options.models)
    site = common.read_site_option(options.site, engine.card)
    settings = _settings(options, Question(options.mode, options.operating_point, site=site))
    spool = Spool(options.spool)
    node = Node(settings, engine, spool)
    try:
        node.start()
    except OSError as error:
        raise OutputError(f"{options.host}:{options.port} cannot be listened on: {error}.") from error
    sys.stderr.write(f"{settings.title} listens on {settings.host}:{node.port}. {NOTICE}\n")
    run_until(node, lambda: bool(stop()), spool)
    spool.close()
    return common.SIGNAL_BASE + stop() if stop() else common.EXIT_OK


def _settings(options: argparse.Namespace, question: Question) -> Settings:
    from detector.pacs.node import Settings, tls_contexts  # noqa: PLC0415

    server, client = tls_contexts(*options.tls) if options.tls else (None, None)
    return Settings(
        title=options.aet,
        host=options.host,
        port=options.port,
        store_to=options.store_to,
        question=question,
        allowed=tuple(options.allow),
        excluded=options.exclude,
        workers=max(1, options.workers),
        server_tls=server,
        client_tls=client,
    )


def _title(text: str) -> str:
    if not re.fullmatch(_TITLE, text):
        raise argparse.ArgumentTypeError(f"an AE title has 1 to 16 characters, and no backslash: {text!r}")
    return text


def _peer(text: str) -> Peer:
    from detector.pacs.node import Peer  # noqa: PLC0415

    found = _PEER.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be AET@HOST:PORT. Received {text!r}")
    return Peer(found[1], found[2], int(found[3]))


def _allowed(text: str) -> Allowed:
    from detector.pacs.node import Allowed  # noqa: PLC0415

    title, _, address = text.partition("@")
    return Allowed(_title(title), address or None)
