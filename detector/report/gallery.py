"""One page to step through an explained run: X-ray beside overlay, probabilities, warnings, provenance.

``gallery.html`` needs nothing but itself (or, in a large run, the pictures in its folder): no server, no address, no
script but its own, which its content security policy names by hash. Everything that comes from files travels as JSON
and is put on the page as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import cv2
import numpy as np

from detector import words
from detector.answers import overlay
from detector.report.maps import OVERLAY_ENDING, XRAY_ENDING, XRAY_SIDE, encode_jpeg
from detector.report.rows import Row, printable
from detector.schema import COVID19, NOTICE, task_by_mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.model.card import ModelCard

#: Images whose pictures are embedded: 768 pixels and about 180 KB each, 35 MB in all, which a phone still opens.
#: A larger run embeds its thumbnails and links to the pictures beside it.
EMBEDDED = 200

_TEMPLATE = Path(__file__).with_suffix(".html")


def gallery_page(folder: Path, rows: Sequence[Row], card: ModelCard) -> str:
    """The page over an explained run, whose pictures lie in `folder`.

    All rows are of one mode; those without an answer are listed with their reason.
    """
    linked = sum(row["status"] == "ok" for row in rows) > EMBEDDED
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # reading and scaling pictures lets other threads run
        items = list(pool.map(lambda row: _item(folder, row, linked=linked), rows))
    return _filled_in(items, _about(rows, card, linked=linked))


def _filled_in(items: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Put the data into the page, and the hashes of its script and style into its policy."""
    template = _TEMPLATE.read_text(encoding="utf-8")
    for kind in ("script", "style"):
        content = template.partition(f"<{kind}>")[2].partition(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        template = template.replace(f"'{kind}-hash'", f"'sha256-{digest}'")
    return template.replace("{data}", _script_safe({"about": about, "items": items}))


def _script_safe(value: Any) -> str:
    """JSON that can't end a script element, whatever it holds."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")


def _about(rows: Sequence[Row], card: ModelCard, *, linked: bool) -> dict[str, Any]:
    first = next((row for row in rows if row["status"] == "ok"), None)
    task = task_by_mode(first["mode"]) if first else None
    point = first["operating_point"] if first else None
    return {
        "notice": NOTICE,
        "model": f"{card.name} {card.version}, SHA-256 {card.sha256[:16]}…",
        "limits": list(card.limits),
        "question": " / ".join(words.CLASSES[name] for name in task.classes) if task else "",
        "point": f"operating point {point['name']}" if point else "",
        "scale": card.saliency_scale[task.name] if task else None,
        "linked": linked,
    }


def _item(folder: Path, row: Row, *, linked: bool) -> dict[str, Any]:
    """What the page shows of one row."""
    path = Path(row["path"])
    common = {
        "name": printable(path.name),
        "path": printable(row["path"]),
        "facts": _facts(row),
        "warnings": row["warnings"],
    }
    saliency, probabilities, decision, point = (
        row["saliency"], row["probabilities"], row["decision"], row["operating_point"],
    )  # fmt: skip
    if saliency is None or probabilities is None or decision is None:
        return {**common, "status": row["status"], "code": row["code"], "title": row["reason"]}
    return {
        **common,
        **_pictures(folder, saliency["overlay"], linked=linked),
        "status": "ok",
        "decision": decision,
        "title": words.headline(decision, probabilities),
        "covid": probabilities[COVID19],
        "bars": [[name, words.CLASSES[name], value] for name, value in probabilities.items()],
        "threshold": point["threshold"] if point else None,
        "target": words.CLASSES[saliency["target_class"]],
        "evidence": saliency["sentence"],
    }


def _facts(row: Row) -> list[tuple[str, str]]:
    """Provenance, as pairs of a term and its text."""
    given, versions = row["input"], row["versions"]
    size = f", {given['rows']} × {given['columns']} pixels" if given["rows"] else ""
    facts = [
        ("Format", f"{given['format']}{size}" if given["format"] else None),
        ("SHA-256", given["sha256"]),
        ("Network", f"{row['model']['name']} {row['model']['version']}, {row['model']['sha256'][:16]}…"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("Analysed", row["analysed_at"]),
    ]
    return [(term, text) for term, text in facts if text]


def _pictures(folder: Path, overlay_path: str | None, *, linked: bool) -> dict[str, str | None]:
    """Addresses of thumbnail, X-ray and overlay; none where the files are no longer there."""
    stem = Path(overlay_path or "").name.removesuffix(OVERLAY_ENDING)
    names = stem + XRAY_ENDING, stem + OVERLAY_ENDING
    try:
        xray, coloured = ((folder / name).read_bytes() for name in names)
        thumbnail = _thumbnail(xray)
        if linked:
            sources = [quote(os.fsencode(name)) for name in names]
        else:
            shrunk = overlay.shrink(_decoded(coloured, cv2.IMREAD_COLOR), longer_side=XRAY_SIDE)
            sources = [_data_address(xray), _data_address(encode_jpeg(shrunk))]
    except (OSError, ValueError, cv2.error):
        return {"thumbnail": None, "xray": None, "overlay": None}
    return {"thumbnail": thumbnail, "xray": sources[0], "overlay": sources[1]}


def _thumbnail(xray: bytes) -> str:
    """An eighth of the X-ray's size: 96 pixels; the decoder makes it without the whole."""
    return _data_address(encode_jpeg(_decoded(xray, cv2.IMREAD_REDUCED_GRAYSCALE_8)))


def _decoded(data: bytes, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise ValueError("A saved picture is damaged.")
    return image


def _data_address(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
