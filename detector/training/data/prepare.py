"""Builds a manifest and its pictures from the public collections as a user downloads them.

Every picture is brought to one form (greyscale, 224 × 224, JPEG), pictures that occur twice are kept once, those of
one patient stay in one split. What was done to each picture is written to a journal at once, so a run that is stopped
goes on where it was; the same input gives the same output, whatever was interrupted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.errors import ManifestError, OutputError, RejectedError, TooLargeError
from detector.read.image_io import MAX_DICOM_BYTES, read_radiograph
from detector.run.files import write_whole
from detector.training.data.duplicates import SAME_PATIENT, SAME_PICTURE, alike, fingerprints_of, joined
from detector.training.data.manifest import PNEUMONIAS, SPLITS
from detector.training.data.public_collections import COLLECTIONS, Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_LOG = logging.getLogger(__name__)

SIZE = 224  # pixels: what most of the collections' copies come at

_JPEG_QUALITY = 90
_SHARES = (("test", 0.13), ("val", 0.11))  # of the patient groups; the rest is for training
_NAME_LENGTH, _GROUP_LENGTH = 12, 10  # hexadecimal digits: no two alike among millions
_THREADS = 2
_AHEAD = 64  # pictures handed to the threads at a time
_PROGRESS_EVERY = 1000  # pictures
_SHARD_PICTURES = 1024


@dataclass(frozen=True)
class Done:
    """What became of one picture; a line of the journal.

    Attributes:
        key: source and path below the collection's folder.
        image: the written picture, relative to the output folder; `""` if it was refused.
        code: why it was refused; `""` if it was not.
        height: of the original in pixels.
        width: of the original in pixels.
    """

    key: str
    image: str = ""
    code: str = ""
    height: int = 0
    width: int = 0


@dataclass(frozen=True)
class Row:
    """One row of the manifest; see its columns in the README."""

    image: str
    label: str
    source: str
    split: str
    patient_group: str
    view: str
    age_group: str
    finding: str
    license: str
    original_height: int
    original_width: int
    lung_mask: str
    lung_mask_drawn: str = ""


COLUMNS = tuple(Row.__dataclass_fields__)


@dataclass(frozen=True)
class Prepared:
    """What a run made.

    Attributes:
        rows: of the manifest.
        left_out: source to reason to number of pictures.
    """

    rows: tuple[Row, ...]
    left_out: Mapping[str, Counter[str]]

    def summary(self) -> str:
        """A table of what was kept, and a list of what was not, as text."""
        counts = Counter((row.source, row.label, row.split) for row in self.rows)
        lines = [f"{'source':<10} {'label':<24}" + "".join(f"{split:>8}" for split in SPLITS)]
        for source, label in sorted({(row.source, row.label) for row in self.rows}):
            numbers = "".join(f"{counts[source, label, split]:>8}" for split in SPLITS)
            lines.append(f"{source:<10} {label:<24}{numbers}")
        groups = len({row.patient_group for row in self.rows})
        lines.append(f"{len(self.rows)} pictures of {groups} patient groups")
        for source, reasons in self.left_out.items():
            lines += [f"left out of {source}: {count} ({reason})" for reason, count in sorted(reasons.items())]
        return "\n".join(lines)


def prepare(folders: Mapping[str, Path], out: Path, *, limit: int | None = None, tfrecord: bool = False) -> Prepared:
    """Build ``manifest.csv`` and ``images/`` below `out`.

    Args:
        folders: name of a collection (see `detector.training.data.public_collections.COLLECTIONS`) to where it lies.
        out: folder to write to; a run that was stopped goes on there.
        limit: at most so many pictures of each source and label, whole patients first by the hash of their name.
        tfrecord: also write ``tfrecord/<split>-….tfrecord``.

    Raises:
        ManifestError: if a collection is not as it is published, or nothing could be used.
        OutputError: if the folder can't be written.
    """
    found, left_out = _read_collections(folders, limit)
    try:
        out.mkdir(parents=True, exist_ok=True)
        done = _convert(found, out)
        rows = _manifest_rows(found, done, out, left_out)
        _write_manifest(rows, out / "manifest.csv")
        if tfrecord:
            write_tfrecords(rows, out)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}.") from error
    return Prepared(tuple(rows), left_out)


def split_of(group: str) -> str:
    """Split of a patient group: a function of its name alone, so that new data moves no patient to another split."""
    place = int(hashlib.sha256(f"split/{group}".encode()).hexdigest()[:12], 16) / 16**12
    for name, share in _SHARES:
        if place < share:
            return name
        place -= share
    return "train"


def write_tfrecords(rows: Sequence[Row], out: Path) -> None:
    """Write shards of at most 1,024 pictures a split.

    Each example holds ``image`` (the JPEG's bytes) and the manifest's columns ``label``, ``source``, ``patient_group``,
    ``view`` and ``age_group``.
    """
    import tensorflow as tf  # noqa: PLC0415 - only who asks for shards waits for it

    folder = out / "tfrecord"
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.tfrecord"):
        stale.unlink()
    for split in SPLITS:
        chosen = [row for row in rows if row.split == split]
        shards = -(-len(chosen) // _SHARD_PICTURES)
        for shard in range(shards):
            path = folder / f"{split}-{shard:05d}-of-{shards:05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for row in chosen[shard::shards]:
                    names = ("label", "source", "patient_group", "view", "age_group")
                    values = {name: getattr(row, name).encode() for name in names}
                    values["image"] = (out / row.image).read_bytes()
                    feature = {k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for k, v in values.items()}
                    example = tf.train.Example(features=tf.train.Features(feature=feature))
                    writer.write(example.SerializeToString())


def _read_collections(folders: Mapping[str, Path], limit: int | None) -> tuple[list[Found], dict[str, Counter[str]]]:
    found: list[Found] = []
    left_out: dict[str, Counter[str]] = {}
    for source, read in COLLECTIONS.items():
        if source in folders:
            inventory = read(folders[source])
            kept = _limited(inventory.found, limit)
            left_out[source] = inventory.left_out
            left_out[source]["over the limit"] += len(inventory.found) - len(kept)
            found += kept
    if not found:
        raise ManifestError(f"No labelled picture was found in {[str(path) for path in folders.values()]}.")
    return found, left_out


def _limited(found: Sequence[Found], limit: int | None) -> list[Found]:
    """At most so many of each label, patients in the order of their hash, pictures in that of the collection."""
    if limit is None:
        return list(found)
    order = sorted(range(len(found)), key=lambda i: (_hash(f"{found[i].source}/{found[i].patient}", 64), i))
    taken: Counter[str] = Counter()
    kept = []
    for index in order:
        label = found[index].label
        if taken[label] < limit:
            taken[label] += 1
            kept.append(index)
    return [found[index] for index in sorted(kept)]


def _convert(found: Sequence[Found], out: Path) -> dict[str, Done]:
    """Write every picture that the journal does not hold yet; returns what became of each, by key."""
    journal = out / "prepared.jsonl"
    done = {entry.key: entry for entry in _journal(journal, out)}
    waiting = [one for one in found if _key(one) not in done]
    began = time.monotonic()
    with journal.open("a", encoding="utf-8") as file, ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(waiting), _AHEAD):
            for entry in pool.map(lambda one: _convert_one(one, out), waiting[start : start + _AHEAD]):
                done[entry.key] = entry
                file.write(json.dumps(asdict(entry)) + "\n")
            file.flush()
            if start // _PROGRESS_EVERY != (start + _AHEAD) // _PROGRESS_EVERY:
                count = min(start + _AHEAD, len(waiting))
                left = (time.monotonic() - began) / count * (len(waiting) - count)
                _LOG.info("%d of %d pictures, %.0f s left", count, len(waiting), left)
    return done


def _journal(path: Path, out: Path) -> Iterator[Done]:
    """Entries of an earlier run whose picture is still there; a torn last line is cut off, damage passed over."""
    if not path.exists():
        return
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        path.write_bytes(whole)
    for line in whole.decode("utf-8").splitlines():
        try:
            entry = Done(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if entry.code or (out / entry.image).is_file():
            yield entry


def _convert_one(one: Found, out: Path) -> Done:
    key = _key(one)
    try:
        pixels = _read_picture(one.path)
    except RejectedError as error:
        return Done(key, code=error.code)
    except OSError:
        return Done(key, code="unreadable_path")
    image = f"images/{one.source}/{_hash(key, _NAME_LENGTH)}.jpg"
    _write_picture(_square(pixels), out / image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return Done(key, image, "", *pixels.shape)


def _read_picture(path: Path) -> np.ndarray:
    """Pixels (H, W) float32 in [0, 1], read with the program's own defences."""
    if path.stat().st_size > MAX_DICOM_BYTES:
        raise TooLargeError(f"{path} has {path.stat().st_size} bytes.")
    return read_radiograph(path.read_bytes()).pixels


def _square(pixels: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1] to (224, 224) uint8, sides squashed."""
    shrinks = min(pixels.shape) >= SIZE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(pixels, (SIZE, SIZE), interpolation=method)
    return np.clip(np.rint(small * 255), 0, 255).astype(np.uint8)


def _write_picture(pixels: np.ndarray, path: Path, parameters: Sequence[int] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, cv2.imencode(path.suffix, pixels, list(parameters))[1].tobytes())


def _manifest_rows(
    found: Sequence[Found], done: Mapping[str, Done], out: Path, left_out: Mapping[str, Counter[str]]
) -> list[Row]:
    """Drop refused pictures and copies, join patients, choose splits."""
    usable = []
    for one in found:
        entry = done[_key(one)]
        if entry.code:
            left_out[one.source][f"refused: {entry.code}"] += 1
        else:
            usable.append(one)
    if not usable:
        raise ManifestError("No picture could be read.")
    prints = np.stack([fingerprints_of(_stored(out / done[_key(one)].image)) for one in usable])
    pairs = alike(prints, SAME_PATIENT)
    copies = _copies(usable, [(p.first, p.second) for p in pairs if p.correlation >= SAME_PICTURE], left_out)
    groups = _groups(usable, [(p.first, p.second) for p in pairs])
    rows = [
        _row(one, done[_key(one)], group, out)
        for index, (one, group) in enumerate(zip(usable, groups, strict=True))
        if index not in copies
    ]
    return sorted(rows, key=lambda row: row.image)


def _copies(found: Sequence[Found], links: Sequence[tuple[int, int]], left_out: Mapping[str, Counter[str]]) -> set[int]:
    """Indices to drop: all but the first of pictures that are one, and all of them where their labels contradict.

    A pneumonia of unknown germ contradicts no other pneumonia: the first collection's word is kept.
    """
    members: dict[int, list[int]] = {}
    for index, group in enumerate(joined(len(found), links)):
        members.setdefault(int(group), []).append(index)
    dropped = set()
    for group in members.values():
        labels = {found[i].label for i in group}
        germ_unknown = "pneumonia_unspecified" in labels and labels <= set(PNEUMONIAS)
        contradict = len(labels) > (2 if germ_unknown else 1)
        for index in group if contradict else group[1:]:
            dropped.add(index)
            left_out[found[index].source]["copies with other labels" if contradict else "copies"] += 1
    return dropped


def _groups(found: Sequence[Found], links: Sequence[tuple[int, int]]) -> list[str]:
    """Name of each picture's patient group: one patient of a collection, joined across pictures that are alike."""
    patients: dict[tuple[str, str], int] = {}
    same = [(patients.setdefault((one.source, one.patient), i), i) for i, one in enumerate(found)]
    roots = joined(len(found), [*same, *links])
    return [_hash(f"{found[root].source}/{found[root].patient}", _GROUP_LENGTH) for root in roots]


def _row(one: Found, entry: Done, group: str, out: Path) -> Row:
    return Row(
        image=entry.image,
        label=one.label,
        source=one.source,
        split=split_of(group),
        patient_group=group,
        view=one.view,
        age_group=one.age_group,
        finding=one.finding,
        license=one.license,
        original_height=entry.height,
        original_width=entry.width,
        lung_mask=_write_mask(one, entry, out),
    )


def _write_mask(one: Found, entry: Done, out: Path) -> str:
    """Write the picture's lung mask on its grid, if it has one that can be read."""
    if one.lung_mask is None:
        return ""
    mask = f"lung_masks/{_hash(entry.key, _NAME_LENGTH)}.png"
    if not (out / mask).is_file():
        try:
            pixels = _read_picture(one.lung_mask)
        except (RejectedError, OSError):
            return ""
        _write_picture(np.where(_square(pixels) > 127, 255, 0).astype(np.uint8), out / mask)
    return mask


def _write_manifest(rows: Sequence[Row], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_whole(path, text.getvalue().encode())


def _stored(path: Path) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE))


def _key(one: Found) -> str:
    return f"{one.source}/{one.name}"


def _hash(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:length]
