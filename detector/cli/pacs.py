"""``pacs``: find X-rays in an archive by DICOMweb, analyse them, store the results there."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from detector.cli import common
from detector.errors import OutputError
from detector.model.card import read_card
from detector.schema import NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.pacs.web import Archive, Wanted

_LOG = logging.getLogger("detector")
_DATES = re.compile(r"\d{8}(-(\d{8})?)?|-\d{8}")


def add(commands: common.Commands) -> None:
    """Add the command, its three parts and their options."""
    parser = commands.add_parser("pacs", help="analyse X-rays of an archive by DICOMweb", epilog=NOTICE)
    parts = parser.add_subparsers(required=True, metavar="query | analyse | store")
    query = parts.add_parser("query", help="list X-rays, one JSON object a line")
    analyse = parts.add_parser("analyse", help="analyse them, and store the results in their studies")
    store = parts.add_parser("store", help="store results that predict --dicom has written")
    for part in (query, analyse, store):
        part.add_argument("--url", required=True, metavar="URL", help="of the DICOMweb service")
    for part in (query, analyse):
        part.add_argument("--date", type=_dates, default="", metavar="YYYYMMDD[-YYYYMMDD]", help="of the study")
        part.add_argument("--modality", choices=["CR", "DX"], default="", help="(both)")
        part.add_argument("--body-part", default="", metavar="TERM", help="such as CHEST")
        part.add_argument("--view", default="", metavar="TERM", help="such as PA")
        part.add_argument("--station", default="", metavar="NAME")
    analyse.add_argument("--exclude", type=Path, metavar="FILE", help="patient IDs to leave out, one a line")
    common.add_question(analyse)
    common.add_site(analyse)
    common.add_model(analyse)
    store.add_argument("folder", type=common.existing_path, metavar="DIR", help="with the .dcm files")
    for part, work in ((query, _query), (analyse, _analyse), (store, _store)):
        part.set_defaults(run=partial(_run, work))


def _run(work: Callable[[argparse.Namespace, Archive], int], options: argparse.Namespace) -> int:
    """Run a part with its archive; an address that can't be one is not repeated: it may hold a password."""
    from detector.pacs.web import Archive, Credentials  # noqa: PLC0415

    try:
        archive = Archive(options.url, Credentials.from_environment())
    except ValueError as error:
        _LOG.error("--url: %s", error)
        return common.EXIT_USAGE
    return work(options, archive)


def _query(options: argparse.Namespace, archive: Archive) -> int:
    for found in archive.find(_wanted(options)):
        _write(vars(found))
    return common.EXIT_OK


def _analyse(options: argparse.Namespace, archive: Archive) -> int:
    excluded: frozenset[str] = frozenset()
    if options.exclude is not None:
        with contextlib.suppress(OSError):
            excluded = frozenset(line.strip() for line in options.exclude.read_text("utf-8").splitlines())
        if not excluded:
            _LOG.error("The exclusion list %s is empty or cannot be read.", options.exclude)
            return common.EXIT_USAGE
    read_card(options.models / f"{options.model}.json")
    from detector.answers.answer import Question  # noqa: PLC0415
    from detector.model.engine import Engine  # noqa: PLC0415
    from detector.pacs.analyse import analyse_archive  # noqa: PLC0415

    engine = Engine.load(options.model, options.models)
    stop = common.stop_on_signals()
    question = Question(options.mode, options.operating_point, site=common.read_site_option(options.site, engine.card))
    found = archive.find(_wanted(options))
    failed = False
    outcomes = analyse_archive(archive, found, engine, question, excluded=excluded, stop=lambda: bool(stop()))
    for outcome in outcomes:
        failed |= outcome.status == "error"
        _write({**vars(outcome), "found": vars(outcome.found), "notice": NOTICE})
    return common.SIGNAL_BASE + stop() if stop() else common.EXIT_FAILED if failed else common.EXIT_OK


def _store(options: argparse.Namespace, archive: Archive) -> int:
    from pydicom import dcmread  # noqa: PLC0415
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415

    from detector.pacs.analyse import store_missing  # noqa: PLC0415
    from detector.run.results import DICOM_ENDINGS  # noqa: PLC0415

    paths = sorted(path for path in options.folder.rglob("*.dcm") if path.name.endswith(DICOM_ENDINGS))
    for path in paths:
        try:
            data = path.read_bytes()
            study = str(dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
        except (OSError, InvalidDicomError, AttributeError) as error:
            raise OutputError(f"{path} is no result of this program ({type(error).__name__}).") from error
        stored = store_missing(archive, study, {path.name: data})
        _write({"path": str(path), "status": "stored" if stored else "already there"})
    return common.EXIT_OK


def _wanted(options: argparse.Namespace) -> Wanted:
    from detector.pacs.web import Wanted  # noqa: PLC0415

    return Wanted(options.date, options.modality, options.body_part, options.view, options.station)


def _dates(text: str) -> str:
    if text and not _DATES.fullmatch(text):
        raise argparse.ArgumentTypeError("must be YYYYMMDD, or two of them with - between")
    return text


def _write(row: object) -> None:
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()
