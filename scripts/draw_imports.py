"""Draws who imports whom inside the package, from its files: assets/imports.svg.

A band is a room, a dot is a file, a line is an import; it leaves the importing file at the dot's lower edge and arrives
at the upper edge of the file that is imported, which stands higher up. Red: imports that close a circle of files. Run
``python -m scripts.draw_imports``; with a folder and a file it draws another state of the package:
``python -m scripts.draw_imports OTHER/detector assets/imports_before.svg``.
"""

from __future__ import annotations

import argparse
import ast
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("", "statistics", "read", "model", "answers", "report", "run", "pacs", "training", "cli", "ui")
_WIDTH, _BAND, _LEFT, _RIGHT = 960, 62, 170, 24  # pixels
_STYLE = (
    "text{font:13px sans-serif;fill:#333}.s{font-size:11px;fill:#777}path{fill:none;stroke:#5b7fa6;stroke-opacity:.3}"
    ".c{stroke:#c0392b;stroke-opacity:.8}circle{fill:#1f3a5f}rect{fill:#f4f6f8}"
)


@dataclass(frozen=True)
class Imports:
    """What the files of a package import of each other.

    Attributes:
        files: module names.
        edges: importing module and imported module.
    """

    files: tuple[str, ...]
    edges: frozenset[tuple[str, str]]

    @property
    def circular(self) -> frozenset[tuple[str, str]]:
        """The imports by which a file imports itself through others."""
        reached = {name: self._reached(name) for name in self.files}
        return frozenset((a, b) for a, b in self.edges if a in reached[b])

    def _reached(self, name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            here = waiting.pop()
            new = {b for a, b in self.edges if a == here} - found
            found |= new
            waiting += new
        return found


def read_imports(package: Path) -> Imports:
    """Parse a package's files; imports inside functions and for type checking count as well."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if parts[-1] not in {"__init__", "__main__"}:
            trees[".".join(parts)] = ast.parse(path.read_text(encoding="utf-8"))
    edges = {(name, imported) for name, tree in trees.items() for imported in _imported(tree) & trees.keys() - {name}}
    return Imports(tuple(trees), frozenset(edges))


def _imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def draw(imports: Imports) -> str:
    """The picture as SVG: a band for each room that has files, in the order in which data passes them."""
    rooms = {room: [name for name in imports.files if _room(name) == room] for room in ROOMS}
    rooms = {room: names for room, names in rooms.items() if names}
    place = {}
    parts = []
    for row, (room, names) in enumerate(rooms.items()):
        top = row * _BAND
        if row % 2:
            parts.append(f'<rect y="{top}" width="{_WIDTH}" height="{_BAND}"/>')
        parts.append(f'<text x="14" y="{top + 28}">{escape(room or "ground")}</text>')
        parts.append(f'<text class="s" x="14" y="{top + 45}">{len(names)} files</text>')
        step = (_WIDTH - _LEFT - _RIGHT) / len(names)
        for column, name in enumerate(names):
            place[name] = (round(_LEFT + step * (column + 0.5)), top + _BAND // 2)
    circular = imports.circular
    for a, b in sorted(imports.edges):
        (xa, ya), (xb, yb) = place[a], place[b]
        bend = 26 if ya == yb else (yb - ya) // 2
        mark = ' class="c"' if (a, b) in circular else ""
        parts.append(f'<path{mark} d="M{xa} {ya}C{xa} {ya + bend} {xb} {yb - bend} {xb} {yb}"/>')
    parts += [
        f'<circle cx="{x}" cy="{y}" r="4"><title>{escape(name)}</title></circle>' for name, (x, y) in place.items()
    ]
    height = len(rooms) * _BAND + 30
    said = f"{len(imports.files)} files, {len(imports.edges)} imports, {len(circular)} of them in circles"
    parts.append(f'<text class="s" x="14" y="{height - 10}">{said}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
    return "\n".join([head, f"<title>{said}</title><style>{_STYLE}</style>", *parts, "</svg>\n"])


def _room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 2 else ""


def main() -> None:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", nargs="?", type=Path, default=ROOT / "detector")
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "assets" / "imports.svg")
    options = parser.parse_args()
    options.out.write_text(draw(read_imports(options.package)), encoding="utf-8")


if __name__ == "__main__":
    main()
