"""A blind read as it goes on: which X-rays in which order, and every answer on the disk before the next is asked.

The file holds hashes, labels and answers; no picture and no name. A read that was broken off goes on from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import secrets
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.report.blind import SURENESS, Read
from detector.run.files import LineLog, make_folder
from detector.schema import task_by_mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.answers.answer import Answer
    from detector.schema import Task

FOLDER_VARIABLE = "DETECTOR_READINGS"
_IDENTIFIER = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Asked:
    """What is asked of reader and program.

    Attributes:
        mode: of the question.
        operating_point: of the question.
        model: SHA-256 of the network's weights.
        site: SHA-256 of the site file that the program answers by, or `""`.
    """

    mode: str
    operating_point: str
    model: str
    site: str = ""

    @property
    def task(self) -> Task:
        """The task of the mode."""
        return task_by_mode(self.mode)


@dataclass
class BlindRead:
    """One blind read.

    Attributes:
        identifier: of the read, in the page's address and as the name of its file.
        asked: of reader and program.
        cases: SHA-256 of the X-rays in the order of reading.
        labels: SHA-256 to the truth, where it is known.
        reads: SHA-256 to what was read.
        path: file that it is kept in; None where it could not be made.
    """

    identifier: str
    asked: Asked
    cases: tuple[str, ...]
    labels: Mapping[str, str]
    reads: dict[str, Read] = field(default_factory=dict)
    path: Path | None = None

    @property
    def current(self) -> str | None:
        """The X-ray that is to be read, or whose program's answer is looked at; None at the end."""
        return next((case for case in self.cases if case not in self.reads or self.reads[case].second is None), None)

    @property
    def done(self) -> list[Read]:
        """What has been read to the end, in order."""
        return [self.reads[case] for case in self.cases if case in self.reads and self.reads[case].second is not None]

    def answer_first(self, case: str, given: str, sure: int, told: Answer) -> None:
        """Keep the reader's own answer, and the program's, which is shown from now on.

        Raises:
            OutputError: if it can't be written; it is kept in memory all the same.
        """
        verdict = told.verdict
        read = Read(
            case, given, sure, verdict.decision, verdict.forced, float(verdict.probabilities["covid19"]),
            label=self.labels.get(case),
        )  # fmt: skip
        self.reads[case] = read
        self.note({"first": asdict(read)})

    def answer_second(self, case: str, given: str, sure: int) -> None:
        """Keep the reader's answer after they have seen the program's; raises as `answer_first` does."""
        self.reads[case] = replace(self.reads[case], second=given, second_sure=sure)
        self.note({"second": {"case": case, "second": given, "second_sure": sure}})

    def note(self, line: Mapping[str, Any]) -> None:
        """Write a line of the file; raises as `answer_first` does."""
        if self.path is not None:
            with contextlib.closing(LineLog(self.path)) as log:  # for one line: another tab may go on with it
                log.add(json.dumps(line).encode())


def begin(folder: Path | None, cases: Sequence[str], labels: Mapping[str, str], asked: Asked) -> BlindRead:
    """Begin a read of X-rays in random order; without a folder it is kept in memory alone.

    Raises:
        OutputError: if its file can't be made.
    """
    identifier = secrets.token_hex(8)
    order = list(dict.fromkeys(cases))
    random.Random(identifier).shuffle(order)
    known = {case: labels[case] for case in order if case in labels}
    read = BlindRead(identifier, asked, tuple(order), known)
    if folder is not None:
        make_folder(folder)
        read.path = folder / f"{identifier}.jsonl"
        read.note({"begin": {"identifier": identifier, "asked": asdict(asked), "cases": order, "labels": known}})
    return read


def go_on(folder: Path, identifier: str) -> BlindRead | None:
    """The read of an identifier as far as it went; None where there is none, or its file is damaged."""
    if not _IDENTIFIER.fullmatch(identifier):
        return None
    path = folder / f"{identifier}.jsonl"
    try:
        lines = path.read_bytes().split(b"\n")
        begun, *rest = [json.loads(line) for line in lines if _is_whole(line)]
        values = begun["begin"]
        asked = Asked(**values["asked"])
        read = BlindRead(identifier, asked, tuple(map(str, values["cases"])), dict(values["labels"]), path=path)
        for line in rest:
            _take(read, line, asked.task)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return read


def readings_folder() -> Path:
    """Where reads are kept: the folder that the environment names, or the user's own for data."""
    import platformdirs  # noqa: PLC0415 - asked for seldom

    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("chest-xray-detector") / "readings"


def _take(read: BlindRead, line: Mapping[str, Any], task: Task) -> None:
    if "first" in line:
        found = Read(**line["first"])
        if found.case in read.cases and found.first in task.classes and found.first_sure in SURENESS:
            read.reads[found.case] = found
    elif "second" in line:
        values = line["second"]
        if values["second"] in task.classes and values["second_sure"] in SURENESS:
            read.reads[values["case"]] = replace(read.reads[values["case"]], **values)


def _is_whole(line: bytes) -> bool:
    """Whether a line is whole: the last one may be torn where the computer went down."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
