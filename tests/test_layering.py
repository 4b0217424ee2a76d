"""The import rules of the design: data comes by each room once, and only some rooms know TensorFlow or Streamlit."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "detector"

#: The rooms in the order in which data passes them. A room may import what stands before it.
ROOMS = ("statistics", "read", "model", "answers", "report", "run", "pacs", "training", "cli", "ui")
GROUND = {"detector", "detector.schema", "detector.errors", "detector.words", "detector.paths"}
NOT_FOR_THE_PAGE = {"training", "cli"}
KNOW_TENSORFLOW = ("detector.training", "detector.model.network", "detector.model.gradcam")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    """Name of the room that a module stands in; None for the ground."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def imports(tree, *, top_level_only=False):
    """Names of all modules that a file imports, also inside functions and for type checking."""
    nodes = ast.walk(tree)
    if top_level_only:
        inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
        nodes = [node for node in ast.walk(tree) if id(node) not in inside]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it points"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files():
    return sorted(PACKAGE.rglob("*.py"))


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def breaches(module, names):
    """Imports of a room that stands at the same height or later, as far as they are not the room's own."""
    here = room(module)
    height = -1 if here is None else ROOMS.index(here)
    return [name for name in names if room(name) not in {None, here} and ROOMS.index(room(name)) > height]


@pytest.mark.parametrize("path", files(), ids=module_name)
def test_every_module_has_its_place(path):
    assert room(module_name(path)) is not None or module_name(path) in {*GROUND, "detector.__main__"}


@pytest.mark.parametrize("path", files(), ids=module_name)
def test_no_import_points_to_a_later_room(path):
    if module_name(path) in {"detector", "detector.__main__"}:  # the public face and the door
        return
    assert not breaches(module_name(path), imports(parsed(path)))


def test_the_command_line_imports_training_inside_functions_alone():
    for path in sorted((PACKAGE / "cli").rglob("*.py")):
        assert not [n for n in imports(parsed(path), top_level_only=True) if room(n) == "training"], path


@pytest.mark.parametrize("path", sorted((PACKAGE / "ui").rglob("*.py")), ids=module_name)
def test_the_page_imports_neither_training_nor_the_command_line(path):
    assert not [name for name in imports(parsed(path)) if room(name) in NOT_FOR_THE_PAGE]


def test_public_names_are_imported_when_they_are_asked_for():
    script = (
        "import sys, detector; heavy = sorted({'numpy', 'cv2', 'tensorflow', 'keras'} & sys.modules.keys()); "
        "print(heavy, all(callable(getattr(detector, name)) for name in detector.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[] True"


def test_evaluate_and_calibrate_import_nothing_that_training_alone_needs():
    wings = "detector.training.measure.evaluate, detector.training.fit.site, detector.training.report.site"
    wings += ", detector.run.compare, detector.answers.likeness"
    asked = "{m.split('.')[0] for m in sys.modules} & {'tensorflow', 'keras', 'sklearn'}"
    code = f"import sys, {wings}; print(*{asked})"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


def test_no_file_imports_itself_in_a_circle():
    names = {module_name(path) for path in files()}
    graph = {module_name(path): {n for n in imports(parsed(path)) if n in names} - {"detector"} for path in files()}
    rooms = {module_name(path) for path in files() if path.name == "__init__.py"}
    graph = {name: {n for n in found if n not in rooms} for name, found in graph.items() if name not in rooms}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", files(), ids=module_name)
def test_streamlit_is_imported_by_the_page_alone(path):
    if room(module_name(path)) != "ui":
        assert not [name for name in imports(parsed(path)) if name.split(".")[0] == "streamlit"]


@pytest.mark.parametrize("path", files(), ids=module_name)
def test_tensorflow_is_imported_in_training_and_two_files_of_the_model_alone(path):
    if not module_name(path).startswith(KNOW_TENSORFLOW):
        assert not [name for name in imports(parsed(path)) if name.split(".")[0] in {"tensorflow", "keras"}]


def test_a_breach_would_be_found():
    breach = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from detector.ui.cases import Case\n"
    inside = "def f():\n    from detector.answers.pipeline import analyse\n    import streamlit as st\n"
    assert breaches("detector.read.dicom", imports(ast.parse(breach)))
    assert breaches("detector.read.dicom", imports(ast.parse(inside)))
    assert "streamlit" in list(imports(ast.parse(inside)))
    assert not breaches("detector.ui.cases", imports(ast.parse(inside)))
