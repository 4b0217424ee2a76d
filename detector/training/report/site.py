"""The report of a hospital's calibration: one page for the head of department, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from detector import words
from detector.run.files import make_folder, write_whole
from detector.schema import NOTICE, TASKS
from detector.training.fit.site import allows

if TYPE_CHECKING:
    from detector.answers.site import Figure, Site, SiteTask
    from detector.model.card import ModelCard
    from detector.schema import Task


def site_report(site: Site, card: ModelCard) -> str:
    """The page as HTML; nothing in it is loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    tasks = [_task(task, site, site.tasks[task.name]) for task in TASKS]
    return environment.get_template("site.html").render(site=site, card=card, tasks=tasks, notice=NOTICE, words=words)


def write_site(site: Site, card: ModelCard, path: Path) -> tuple[Path, Path]:
    """Write the site file, and its report beside it under the same name with ``.html``.

    Raises:
        OutputError: if they can't be written.
    """
    report = path.with_suffix(".html")
    make_folder(path.parent)
    write_whole(path, site.to_json().encode())
    write_whole(report, site_report(site, card).encode())
    return path, report


def site_sentences(site: Site) -> list[str]:
    """What was set, what was not and why, and what the number of X-rays allows to be said."""
    said = [words.SITE_REPORT_LEAD.format(images=site.images, coverage=100 * site.coverage)]
    said += [words.SITE_LEFT_OUT.format(count=count, reason=reason) for reason, count in site.left_out.items()]
    for task in TASKS:
        found = site.tasks[task.name]
        title = words.MODES[task.mode]
        if found is None:
            said.append(f"{title}: {site.reasons[task.name]}")
        else:
            said += [f"{title}: {sentence}" for sentence in _allowed(found)]
    return said


def _allowed(found: SiteTask) -> list[str]:
    return [allows(figure, figure_label(name)) for name, figure in found.figures.items() if name.startswith("recall_")]


def _task(task: Task, site: Site, found: SiteTask | None) -> dict[str, Any]:
    title = words.MODES[task.mode]
    if found is None:
        return {"title": title, "reason": site.reasons[task.name], "rows": [], "allows": [], "counts": ""}
    counts = ", ".join(f"{words.CLASSES[name]} {count}" for name, count in found.counts.items())
    rows = [(figure_label(name), _in_words(name, figure), figure.n) for name, figure in found.figures.items()]
    return {"title": title, "reason": "", "rows": rows, "allows": _allowed(found), "counts": counts}


def figure_label(name: str) -> str:
    """Words for a figure's name; that of a class is filled in."""
    if name in words.SITE_FIGURES:
        return words.SITE_FIGURES[name]
    kind, _, which = name.partition("_")
    return words.SITE_CLASS_FIGURES[kind].format(name=words.CLASSES[which])


def _in_words(name: str, figure: Figure) -> str:
    share = not name.startswith(("slope", "offset", "auroc", "likelihood"))
    scale, digits, unit = (100, 0, " %") if share else (1, 2, "")
    interval = ""
    if figure.ci_low is not None and figure.ci_high is not None:
        interval = f" ({scale * figure.ci_low:.{digits}f} to {scale * figure.ci_high:.{digits}f})"
    return f"{scale * figure.value:.{digits}f}{unit}{interval}"
