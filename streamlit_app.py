"""The page: configuration and its two rooms. Run it with ``make app``.

Streamlit imports this file once, for `app`, and runs it as ``__main__`` whenever a browser looks at the page.
"""

import os

import streamlit as st

if __name__ == "__main__":
    from detector import words
    from detector.paths import ASSETS
    from detector.ui import privacy, room, upload
else:
    from detector.ui import guard, streamlit_private

    app = st.App(__file__, middleware=streamlit_private.before_streamlit(guard.Guard), lifespan=guard.opened_in_browser)


def reading_room() -> None:
    """Upload, worklist, and the open image."""
    room.render()


def how_good() -> None:
    """What was measured, and what was not."""
    upload.keep_uploads()
    from detector.ui import quality  # noqa: PLC0415 - what it imports would hold up the reading room's upload

    quality.render()


def from_pacs() -> None:
    """X-rays of the hospital's archive."""
    upload.keep_uploads()
    from detector.ui import from_pacs as page  # noqa: PLC0415 - as above

    page.render()


def blind_read() -> None:
    """The reader first, then the program."""
    from detector.ui import blind  # noqa: PLC0415 - as above

    blind.render()


def main() -> None:
    """Draw the page that was asked for."""
    st.set_page_config(page_title=words.TITLE, page_icon=str(ASSETS / "logo.svg"), layout="wide")
    privacy.guard()
    pages = [
        st.Page(reading_room, title=words.PAGE_ROOM, icon=":material/radiology:", default=True),
        st.Page(how_good, title=words.PAGE_QUALITY, icon=":material/query_stats:", url_path="how-good"),
        st.Page(blind_read, title=words.PAGE_BLIND, icon=":material/visibility_off:", url_path="blind-read"),
    ]
    if os.environ.get(words.PACS_VARIABLE):
        pages.insert(1, st.Page(from_pacs, title=words.PAGE_PACS, icon=":material/lan:", url_path="from-pacs"))
    st.navigation(pages, position="top").run()


if __name__ == "__main__":
    main()
