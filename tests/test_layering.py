"""The import rule of the design: data flows one way, and only some modules know TensorFlow or Streamlit."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "detector"

#: Modules in the order in which data passes them. A module may import what stands before it or beside it.
ORDER = (
    {"detector", "detector.errors", "detector.schema", "detector.garbage"},
    {"detector.picture_header", "detector.dicom", "detector.calibration"},  # calibration is plain arithmetic
    {"detector.image_io", "detector.card"},
    {"detector.sandbox"},
    {"detector.gate", "detector.lungs", "detector.preprocess", "detector.network"},
    {"detector.classifier"},
    {"detector.gradcam", "detector.evidence", "detector.overlay"},
    {"detector.pipeline", "detector.stability"},
    {"detector.report"},
    {"detector.results", "detector.progress", "detector.pdf"},
    {"detector.batch", "detector.gallery", "detector.training", "detector.ui"},
    {"detector.cli"},
    {"detector.__main__"},
)
KNOW_TENSORFLOW = ("network", "classifier", "gradcam", "lungs", "training")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, *, type_checking=False):
    """Names of all modules that a file imports at run time, also inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not type_checking:
        guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
        skipped = {id(child) for node in guarded for child in ast.walk(node)}
    else:
        skipped = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it points"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rank(module):
    """Position in the order; a package stands for all below it, a name inside a module for its module."""
    known = {name: place for place, names in enumerate(ORDER) for name in names}
    while module and module not in known:
        module = module.rpartition(".")[0]
    return known.get(module)


def files():
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=module_name)
def test_every_module_has_its_place(path):
    assert rank(module_name(path)) is not None
    assert (
        module_name(path) == "detector" or rank(module_name(path)) > 0 or path.stem in {"errors", "schema", "garbage"}
    )


@pytest.mark.parametrize("path", files(), ids=module_name)
def test_no_import_points_to_a_later_step(path):
    later = [name for name in imports(path) if name.startswith("detector") and rank(name) > rank(module_name(path))]
    assert not later


@pytest.mark.parametrize("path", files(), ids=module_name)
def test_streamlit_is_imported_by_the_page_alone(path):
    if "ui" not in path.relative_to(PACKAGE).parts:
        assert not [name for name in imports(path) if name.split(".")[0] == "streamlit"]


@pytest.mark.parametrize("path", files(), ids=module_name)
def test_tensorflow_is_imported_by_five_modules_alone(path):
    if module_name(path).split(".")[1:2] and module_name(path).split(".")[1] in KNOW_TENSORFLOW:
        return
    assert not [name for name in imports(path) if name.split(".")[0] in {"tensorflow", "keras"}]


@pytest.mark.parametrize("path", sorted((PACKAGE / "ui").rglob("*.py")), ids=module_name)
def test_the_page_never_imports_training(path):
    assert not [name for name in imports(path, type_checking=True) if name.startswith("detector.training")]


def test_a_breach_would_be_found(tmp_path):
    breach = tmp_path / "breach.py"
    breach.write_text("def f():\n    from detector.pipeline import analyse\n    import streamlit as st\n", "utf-8")
    found = list(imports(breach))
    assert "streamlit" in found
    assert max(rank(name) for name in found if name.startswith("detector")) > rank("detector.image_io")
