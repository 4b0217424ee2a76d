"""The page: configuration, cached model, upload, draw. Run it with ``make app``."""

import streamlit as st

from detector.errors import ModelError
from detector.ui import page, privacy, texts
from detector.ui.session import Case

st.set_page_config(page_title=texts.TITLE, page_icon="assets/logo.svg", layout="wide")


def main() -> None:
    """Draw the page from top to bottom; what needs the network comes last."""
    privacy.guard()
    page.render_header()
    try:
        card = page.load_card()
        upload, choices = st.columns([3, 2], gap="large")
        with upload:
            sources = page.render_upload()
        with choices:
            chosen = page.render_choices(card)
        waiting = st.empty()
        with waiting.container(height=560, border=False):
            st.info(texts.LOADING, icon=":material/hourglass_top:")
        classifier = page.load_classifier()
        waiting.empty()
    except ModelError as error:
        page.render_model_error(error)
        return
    results = page.render_analyses(sources, classifier)
    page.render_failures(results)
    cases = [result for result in results if isinstance(result, Case)]
    if cases:
        case = page.render_worklist(cases, chosen, card)
        page.render_case(case, chosen, card, classifier)


main()
