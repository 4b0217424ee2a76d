"""The documents say what is there: links, commands, options, examples and the picture of the imports."""

import argparse
import re

import pytest

from detector.cli.main import make_parser
from scripts.draw_imports import draw, read_imports
from tests.conftest import COMPOSITES, ROOT, encode

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("assets/*.md"), *ROOT.glob("models/*.md")])
TEXTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in DOCUMENTS}


def commands():
    """Each command's name with its options."""
    return {name: options(command) for name, command in below(make_parser()).items()}


def below(parser):
    """The commands of a parser, by name."""
    found = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return found[0] if found else {}


def options(parser):
    """A command's options and those of its own commands."""
    return set(parser._option_string_actions).union(*map(options, below(parser).values()))


def lines_of_commands(text):
    """Every command of ours in a text, options and all, with lines that go on joined and remarks cut off."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return re.findall(r"(?:cxr-detector|python -m detector) ([a-z][a-z-]+)([^\n`#|]*)", joined)


@pytest.mark.parametrize("path", DOCUMENTS, ids=TEXTS.keys())
def test_what_a_document_links_to_is_there(path):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    assert not [link for link in links if not (path.parent / link).exists()]


@pytest.mark.parametrize("name", TEXTS)
def test_commands_and_options_that_a_document_names_exist(name):
    known = commands()
    for command, rest in lines_of_commands(TEXTS[name]):
        assert command in known
        assert set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", rest)) <= known[command], command


def test_every_command_is_in_the_documents():
    table = TEXTS["docs/command_line.md"]
    assert [name for name in commands() if f"`{name}`" not in table] == []


def test_the_readme_s_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", TEXTS["README.md"], re.DOTALL)
    (tmp_path / "scan.dcm").write_bytes((COMPOSITES / "covid19.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102 - our own text
    assert capsys.readouterr().out.startswith("covid19 0.9")


def test_the_library_s_example_runs(tmp_path, monkeypatch, composite_pixels):
    (example,) = re.findall(r"```python\n(.*?)```", TEXTS["docs/library.md"], re.DOTALL)
    (tmp_path / "scan.dcm").write_bytes(encode(255 - composite_pixels))
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(compile(example, "library.md", "exec"), found)  # noqa: S102 - our own text
    assert 0 <= found["stability"].classes["binary"]["covid19"].low <= 1


def test_the_picture_of_the_imports_has_every_file_and_no_circle():
    imports = read_imports(ROOT / "detector")
    drawn = (ROOT / "assets" / "imports.svg").read_text("utf-8")
    named = re.findall(r"<circle [^>]*><title>([^<]+)</title>", drawn)
    assert sorted(named) == sorted(imports.files), "run python -m scripts.draw_imports"
    assert "0 of them in circles" in draw(imports)
