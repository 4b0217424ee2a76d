"""What the audit of the maps found, in sentences; see ``python -m detector audit-saliency``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from detector import words

if TYPE_CHECKING:
    from collections.abc import Mapping


class Figure(TypedDict):
    """One measured figure with its 95 % interval; value and ends are null where it is not defined."""

    value: float
    ci_low: float | None
    ci_high: float | None
    n: int


def map_audit_sentences(saliency: Mapping[str, Any]) -> list[str]:
    """The headline of ``saliency.json`` for a reader. A missing or null figure drops its sentence."""
    headline: Mapping[str, Figure] = saliency["headline"]
    figures = {name: figure for name, figure in headline.items() if figure["value"] is not None}
    lines = [_in_lungs(figures)]
    if peak := figures.get("covid19_peak_in_lung"):
        lines.append(words.MAPS_PEAK.format(share=_with_interval(peak)))
    lines += [_curve(figures, way) for way in words.MAPS_CURVES]
    return [line for line in (*lines, _randomised(figures)) if line]


def _in_lungs(figures: Mapping[str, Figure]) -> str:
    share, ratio = (figures.get(f"covid19_{name}") for name in ("in_lung_fraction", "ratio"))
    ceiling, by_chance = (figures.get(f"covid19_{name}") for name in ("grid_ceiling", "lung_box_fraction"))
    if not (share and ratio and ceiling and by_chance):
        return ""
    return words.MAPS_IN_LUNGS.format(
        n=share["n"],
        share=_with_interval(share),
        times=ratio["value"],
        ceiling=words.percent(ceiling["value"]),
        by_chance=words.percent(by_chance["value"]),
    )


def _curve(figures: Mapping[str, Figure], way: str) -> str:
    compared = [(figures.get(f"{way}_margin_over_{name}"), said) for name, said in words.MAPS_COMPARED.items()]
    parts = [_margin(margin, said) for margin, said in compared if margin]
    return f"{words.MAPS_CURVES[way]} {words.listed(parts)}." if len(parts) == len(compared) else ""


def _margin(margin: Figure, said: str) -> str:
    verdict, low, high = words.MAPS_EITHER, margin["ci_low"], margin["ci_high"]
    if low is not None and low > 0:
        verdict = words.MAPS_MORE
    elif high is not None and high < 0:
        verdict = words.MAPS_LESS
    interval = "" if low is None else f", 95 % {low:+.3f} to {high:+.3f}"
    return f"{verdict} {said} (area {margin['value']:+.3f}{interval})"


def _randomised(figures: Mapping[str, Figure]) -> str:
    names = ("top_layer_signed", "top_layer_absolute", "all_layers_absolute")
    top, spots, all_gone = (figures.get(f"{name}_correlation_binary") for name in names)
    if not (top and spots and all_gone):
        return ""
    return words.MAPS_RANDOMISED.format(top=top["value"], spots=spots["value"], all_gone=all_gone["value"])


def _with_interval(share: Figure) -> str:
    if share["ci_low"] is None or share["ci_high"] is None:
        return words.percent(share["value"])
    low, high = words.percent(share["ci_low"]), words.percent(share["ci_high"])
    return f"{words.percent(share['value'])} (95 % interval {low} to {high})"
