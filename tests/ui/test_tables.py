"""Tables of the page: headings, rows that are named, no markup of a cell, and neither Arrow nor pandas."""

import subprocess
import sys

from streamlit.testing.v1 import AppTest

from tests.conftest import ROOT


def drawn():
    from detector.ui.tables import render_table

    render_table({"What": ["<b>one</b>", "two"], "Value": [1, "0.5 & more"]}, title='A "title"')


def test_first_column_names_the_rows_and_cells_are_text():
    app = AppTest.from_function(drawn, default_timeout=60).run()
    (table,) = (element.proto.body for element in app.get("html") if "<table" in element.proto.body)
    assert 'aria-label="A &quot;title&quot;"' in table
    assert '<th scope="col">What</th><th scope="col">Value</th>' in table
    assert '<tr><th scope="row">&lt;b&gt;one&lt;/b&gt;</th><td>1</td></tr>' in table
    assert '<tr><th scope="row">two</th><td>0.5 &amp; more</td></tr>' in table


def test_no_page_needs_what_streamlit_has_for_data_frames():
    script = (
        "import sys\n"
        "for name in ('pandas', 'pyarrow', 'altair', 'pydeck'): sys.modules[name] = None\n"
        "from streamlit.testing.v1 import AppTest\n"
        "for page in ('room', 'quality', 'blind'):\n"
        "    source = f'from detector.ui import {page} as p; p.render()'\n"
        "    app = AppTest.from_string(source, default_timeout=120).run()\n"
        "    assert not app.exception, app.exception\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
