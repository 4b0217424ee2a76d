"""The page for everyone: axe-core finds nothing serious, the keyboard reaches everything, pictures have words."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from detector import words
from tests.browser.conftest import opened
from tests.browser.hands import choose, drop
from tests.conftest import encode

pytestmark = pytest.mark.browser

#: What Streamlit's own parts do and this page can't change: rule, and what the element's selector or markup holds.
STREAMLIT_S_OWN = ()
#: Whether an element belongs to a widget that is switched off, its label included.
_DISABLED = """e => {
    const widget = e.closest('.stButtonGroup, .stSlider, .stSelectbox, button');
    return widget !== null && (widget.disabled || widget.querySelector('[disabled], [aria-disabled="true"]') !== null);
}"""


def serious(page):
    """Findings of axe-core that keep people out, as (rule, element) without what is Streamlit's own."""
    found = []
    for violation in Axe().run(page).response["violations"]:
        if violation["impact"] not in {"serious", "critical"}:
            continue
        for node in violation["nodes"]:
            if violation["id"] == "color-contrast" and page.locator(str(node["target"][0])).first.evaluate(_DISABLED):
                continue  # WCAG 2.2, 1.4.3: an inactive component has no contrast to keep; axe misses its inner parts
            where = f"{' '.join(map(str, node['target']))} {node['html'][:200]}"
            if not any(rule == violation["id"] and mark in where for rule, mark in STREAMLIT_S_OWN):
                found.append((violation["id"], where, node.get("failureSummary", "")[:300]))
    return found


@pytest.fixture(params=["server", "light_server"])
def themed(request, tab):
    """The page, dark and light."""
    return opened(tab, request.getfixturevalue(request.param))


WIDTHS = (1440, 390)


def test_both_pages_have_no_serious_finding(themed):
    page = themed
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1000})
        for question in ("Three-class", "Binary"):
            choose(page, "Question", question)
            assert serious(page) == []
    page.goto(page.url.rstrip("/") + "/how-good")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1000})
        page.locator(".js-plotly-plot svg").first.wait_for()
        assert serious(page) == []


def test_refusal_has_no_serious_finding(themed, composite_pixels):
    page = themed
    drop(page, ("turned.png", encode(composite_pixels[::-1])), ("empty.png", b""))
    page.get_by_role("button", name=words.CORRECT_TURN).wait_for()
    page.get_by_role("img", name=words.REJECTED_ALT.format(name="turned.png")).wait_for()
    assert serious(page) == []


def test_every_chart_and_picture_has_words(page):
    charts = page.get_by_test_id("stPlotlyChart")
    for place in range(charts.count()):
        told = charts.nth(place).evaluate(
            "e => [e, ...e.querySelectorAll('[aria-label]')].map(x => x.getAttribute('aria-label')).join(' ')"
        )
        assert "COVID-19" in told
    for canvas in page.locator(".st-key-viewer canvas").all():
        assert "COVID-19" in canvas.get_attribute("aria-label")
    assert page.evaluate("() => [...document.images].filter(i => !i.hasAttribute('alt')).length") == 0


REACHED = """
() => {
    const e = document.activeElement;
    const inner = e.shadowRoot?.activeElement ?? e;
    const labels = [...(inner.labels ?? [])].map(label => label.textContent);
    const told = [inner.getAttribute('aria-label') || '', inner.innerText || '', ...labels, inner.tagName];
    return e === document.body ? null : told.join('|');
}
"""


def test_tab_key_reaches_every_control(page):
    page.evaluate("() => window.scrollTo(0, 0)")
    seen = []
    for _ in range(70):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(REACHED) or "")
    walked = "\n".join(seen)
    for control in (
        "Upload",
        words.MORE,
        words.NEXT,
        words.VIEWER["grey"],
        words.SAVE_CASE,
        words.SAVE_LIST,
        words.VIEWER["opacity"],
        words.HEADS["urgency"][1],
        words.VIEWER["help"],
    ):
        assert control in walked, f"{control} was not reached: {seen}"
