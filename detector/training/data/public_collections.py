"""The public collections as a user downloads them: which pictures they hold, and what they say about each.

Readers walk folders and tables; no picture is opened here. What a collection holds that has no place in a manifest
(side views, CT slices, findings that are none of the labels) is counted with the reason.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from detector.errors import ManifestError
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, NORMAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

ADULT, PAEDIATRIC = "adult", "paediatric"

_PICTURES = frozenset({".png", ".jpg", ".jpeg"})
_ADULT_FROM = 18  # years
_FRONTAL = {"pa": "PA", "ap": "AP", "ap supine": "AP Supine", "ap erect": "AP Erect"}
_LARGEST_TABLE = 10**9  # characters in a cell: one without a closing quote would fill the memory
_BACTERIA = (
    "bacterial", "streptococcus", "klebsiella", "legionella", "mycoplasma", "e.coli", "chlamydophila", "staphylococcus",
    "mrsa", "nocardia",
)  # fmt: skip
_VIRUSES = ("viral", "sars", "mers", "influenza", "h1n1", "varicella", "herpes")
_OTHERS = ("pneumonia", "pneumocystis", "fungal", "lipoid", "ards", "aspergillosis", "aspiration")


@dataclass(frozen=True)
class Found:
    """One picture of a collection.

    Attributes:
        path: of the file.
        name: path below the collection's folder, with ``/``: the picture's identity.
        label: one of `detector.training.data.manifest.LABELS`.
        source: the collection's name.
        patient: the collection's own name of the patient; the picture's where it has none.
        view: view position, or `""`.
        age_group: ``"adult"``, ``"paediatric"`` or `""`.
        finding: the collection's own word.
        license: the picture's licence, or `""`.
        lung_mask: a mask of the lung fields, or None.
    """

    path: Path
    name: str
    label: str
    source: str
    patient: str
    view: str = ""
    age_group: str = ""
    finding: str = ""
    license: str = ""
    lung_mask: Path | None = None


@dataclass
class Inventory:
    """What a collection holds.

    Attributes:
        found: pictures with a label.
        left_out: reason to number of the rest.
    """

    found: list[Found] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path, folder: Path, label: str, source: str, **known: Any) -> None:
        """Take a picture of a collection's folder; `known` are the attributes of `Found` that have a default here."""
        name = path.relative_to(folder).as_posix()
        self.found.append(Found(path, name, label, source, **{"patient": name} | known))


def read_ieee8023(folder: Path) -> Inventory:
    """covid-chestxray-dataset (Cohen et al. 2020): ``metadata.csv`` beside ``images/``.

    Raises:
        ManifestError: if the table is missing or not its.
    """
    inventory = Inventory()
    masks = _masks_by_name(folder / "annotations" / "lungVAE-masks")
    for row in _table(folder / "metadata.csv", {"patientid", "finding", "view", "modality", "filename"}):
        reason, path = _unfit_for_chest(row), _inside(folder / (row.get("folder") or "images"), row["filename"])
        label = label_of_finding(row["finding"])
        if reason or label is None or path is None:
            inventory.left_out[reason or ("no label for the finding" if label is None else "file missing")] += 1
            continue
        inventory.add(
            path, folder, label, "ieee8023",
            patient=row["patientid"].strip() or path.name,
            view=_FRONTAL[row["view"].strip().casefold()],
            age_group=_age_group(row.get("age")) or ADULT,
            finding=row["finding"].strip(),
            license=(row.get("license") or "").strip(),
            lung_mask=masks.get(path.name) or masks.get(path.stem),
        )  # fmt: skip
    return inventory


def read_kaggle(folder: Path) -> Inventory:
    """Chest X-Ray Images (Pneumonia) (Kermany et al. 2018): ``{train,val,test}/{NORMAL,PNEUMONIA}/``.

    Its files name patients: ``person12_bacteria_45.jpeg``, ``NORMAL2-IM-0927-0001.jpeg``. One number may stand for
    two children in two folders; they are kept together all the same.
    """
    inventory = Inventory()
    for path in _pictures(folder):
        parent = path.parent.name.casefold()
        if parent not in {"normal", "pneumonia"}:
            inventory.left_out["folder without a label"] += 1
            continue
        label = NORMAL if parent == "normal" else _kaggle_pneumonia(path.name)
        patient = re.match(r"person\d+(?=_)|(?:NORMAL2-)?IM-\d+", path.stem, re.IGNORECASE)
        known = {"patient": patient[0].casefold()} if patient else {}
        inventory.add(
            path, folder, label, "kaggle",
            view="AP", age_group=PAEDIATRIC, finding=label, license="CC BY 4.0", **known,
        )  # fmt: skip
    return inventory


def read_raddb(folder: Path) -> Inventory:
    """COVID-19 Radiography Database (Chowdhury, Rahman et al.): ``COVID/images/``, ``Normal/images/`` and more.

    Older releases keep the pictures one folder higher. It names no patients. Its viral pneumonias are children of the
    Kaggle collection, its ``Lung_Opacity`` need not be a pneumonia and is left out.
    """
    inventory = Inventory()
    labels = {"covid": COVID19, "normal": NORMAL, "viral pneumonia": "viral_pneumonia"}
    for path in _pictures(folder):
        parts = [part.casefold() for part in path.relative_to(folder).parts[:-1]]
        if "masks" in parts:
            continue  # read beside their pictures
        label = next((labels[part] for part in parts if part in labels), None)
        if label is None:
            inventory.left_out["no label for the finding"] += 1
            continue
        mask = path.parent.parent / "masks" / path.name
        inventory.add(
            path, folder, label, "raddb",
            age_group=PAEDIATRIC if label == "viral_pneumonia" else ADULT, finding=label, license="see dataset card",
            lung_mask=mask if path.parent.name == "images" and mask.is_file() else None,
        )  # fmt: skip
    return inventory


def read_nih(folder: Path) -> Inventory:
    """NIH ChestX-ray14 (Wang et al. 2017): ``Data_Entry_2017*.csv`` and ``images*/images/`` (or ``images/``).

    Raises:
        ManifestError: if the table is missing or not its.
    """
    inventory = Inventory()
    tables = sorted(folder.glob("Data_Entry_2017*.csv"))
    if not tables:
        raise ManifestError(f"{folder} holds no Data_Entry_2017*.csv.")
    paths = {path.name: path for path in _pictures(folder)}
    for row in _table(tables[0], {"Image Index", "Finding Labels", "Patient ID"}):
        findings = {part.strip() for part in row["Finding Labels"].split("|")}
        label = "pneumonia_unspecified" if "Pneumonia" in findings else NORMAL if findings == {"No Finding"} else None
        path = paths.get(row["Image Index"])
        if label is None or path is None:
            inventory.left_out["no label for the finding" if label is None else "file missing"] += 1
            continue
        inventory.add(
            path, folder, label, "nih",
            patient=row["Patient ID"],
            view=_FRONTAL.get((row.get("View Position") or "").strip().casefold(), ""),
            age_group=_age_group(row.get("Patient Age")),
            finding=row["Finding Labels"],
            license="NIH open",
        )  # fmt: skip
    return inventory


#: Option of ``python -m detector prepare`` to its reader; where two hold one picture, the earlier one keeps it.
COLLECTIONS: Mapping[str, Callable[[Path], Inventory]] = {
    "ieee8023": read_ieee8023,
    "nih": read_nih,
    "kaggle": read_kaggle,
    "raddb": read_raddb,
}


def label_of_finding(finding: str) -> str | None:
    """Label of the ieee8023 collection's word, e.g. ``"Pneumonia/Viral/COVID-19"`` or ``"COVID-19, ARDS"``."""
    words = {word.strip().casefold() for word in re.split(r"[/,]", finding)}
    if words & {"covid-19"}:
        return COVID19
    if words & {"no finding"}:
        return NORMAL
    for label, names in (
        (BACTERIAL_PNEUMONIA, _BACTERIA),
        ("viral_pneumonia", _VIRUSES),
        ("other_pneumonia", _OTHERS),
    ):
        if any(word.startswith(names) for word in words):
            return label
    return None


def _unfit_for_chest(row: Mapping[str, str]) -> str:
    """Why a row of the ieee8023 table is no frontal radiograph; `""` if it is one."""
    if row["modality"].strip().casefold() != "x-ray":
        return "no radiograph"
    view = row["view"].strip().casefold()
    return "" if view in _FRONTAL else "no frontal view"


def _kaggle_pneumonia(name: str) -> str:
    lower = name.casefold()
    if "bacteria" in lower:
        return BACTERIAL_PNEUMONIA
    return "viral_pneumonia" if "virus" in lower else "pneumonia_unspecified"


def _age_group(text: str | None) -> str:
    """Age group of ``"58"``, ``"058Y"`` or ``"58.0"``; months and days are children."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([YMD]?)\s*", text or "", re.IGNORECASE)
    if not found:
        return ""
    return ADULT if found[2].upper() in {"", "Y"} and float(found[1]) >= _ADULT_FROM else PAEDIATRIC


def _table(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a table; every needed cell is text."""
    csv.field_size_limit(min(_LARGEST_TABLE, 2**31 - 1))
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            reader = csv.DictReader(file)
            columns, rows = set(reader.fieldnames or ()), list(reader)
    except (OSError, csv.Error) as error:
        raise ManifestError(f"The table {path} cannot be read: {error}.") from error
    if missing := set(needed) - columns:
        raise ManifestError(f"The table {path} lacks the columns {sorted(missing)}.")
    return [{**row, **{name: row[name] or "" for name in needed}} for row in rows]


def _pictures(folder: Path) -> Iterator[Path]:
    """Picture files below a folder, in order, without hidden ones and what macOS adds to archives."""
    if not folder.is_dir():
        raise ManifestError(f"There is no folder {folder}.")
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if path.suffix.casefold() in _PICTURES and not hidden and path.is_file():
            yield path


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name in that folder; None if there is none, or if the name leads elsewhere."""
    clean = name.replace("\\", "/")
    if not clean or "/" in clean or "\0" in clean or clean in {".", ".."} or ".." in folder.parts:
        return None
    path = folder / clean
    try:
        return path if path.is_file() else None
    except OSError:  # a name longer than the file system's
        return None


def _masks_by_name(folder: Path) -> dict[str, Path]:
    """Masks by the name of their picture, which theirs begins with."""
    if not folder.is_dir():
        return {}
    return {re.sub(r"_mask$", "", path.stem): path for path in _pictures(folder)}
