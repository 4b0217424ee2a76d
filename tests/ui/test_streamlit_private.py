"""What we use of Streamlit without a promise: every name is there, and does what we use it for."""

import asyncio
import copy
import importlib
import inspect
import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import streamlit
from starlette.formparsers import MultiPartParser
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.testing.v1 import AppTest

from detector.ui import guard, streamlit_private
from tests.conftest import ROOT

PARTS = re.compile(r"\.st[A-Z]\w+|\[data-testid[*^]?=[\"']?\w+[\"']?\]")


def named(path):
    """The object of a dotted name; for an attribute that only instances have, the class whose source sets it."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                assert f"self.{name}" in inspect.getsource(found), f"{path} is gone"
                return found
            found = getattr(found, name)
        return found
    raise AssertionError(path)


def test_installed_version_is_one_that_was_looked_at():
    assert streamlit.__version__ in streamlit_private.SEEN


@pytest.mark.parametrize("path", streamlit_private.NAMES)
def test_name_is_there_and_its_loss_is_described(path):
    assert named(path) is not None
    assert streamlit_private.NAMES[path]


def test_private_names_stand_in_one_file():
    for path in (ROOT / "detector").rglob("*.py"):
        if path.name != "streamlit_private.py":
            assert not re.search(r"streamlit\.runtime|from streamlit import runtime|starlette", path.read_text("utf-8"))


def test_every_part_of_streamlit_s_page_that_we_lay_out_is_listed():
    used = set()
    for path in (ROOT / "assets").iterdir():
        if path.suffix in {".css", ".js"}:
            used |= {mark.replace('"', "").replace("'", "") for mark in PARTS.findall(path.read_text("utf-8"))}
    assert used == set(streamlit_private.SELECTORS)


@pytest.fixture
def queue():
    """A drawn element, then where to send a file, neither sent yet."""
    streamlit_private.keep_upload_addresses()
    queue = ForwardMsgQueue()
    element, answer = ForwardMsg(), ForwardMsg()
    element.delta.new_element.markdown.body = "drawn before"
    answer.file_urls_response.response_id = "7"
    queue.enqueue(element)
    queue.enqueue(answer)
    return queue


def kinds(messages):
    return [message.WhichOneof("type") for message in messages]


@pytest.mark.parametrize("fragments", [None, ["a"]])
def test_run_that_begins_keeps_the_address_once(queue, fragments):
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=fragments)
    assert kinds(queue.flush()).count("file_urls_response") == 1


def test_run_that_begins_forgets_what_was_drawn(queue):
    queue.clear(retain_lifecycle_msgs=True)
    assert "delta" not in kinds(queue.flush())


def test_what_was_sent_is_not_sent_again(queue):
    assert kinds(queue.flush()) == ["delta", "file_urls_response"]
    assert queue.is_empty()


def test_uploads_stay_in_memory_while_they_arrive():
    streamlit_private.keep_uploads_in_memory()
    assert MultiPartParser.spool_max_size > 64 * 2**20


def test_page_is_opened_and_nothing_is_suggested_to_programmers(monkeypatch):
    from streamlit import config
    from streamlit.web import skills

    opened = []
    monkeypatch.setattr(guard.webbrowser, "open", opened.append)
    before = config.get_option("server.headless")

    async def serve():
        async with guard.opened_in_browser(None):
            return skills.nudge_suppression_reason()

    try:
        config.set_option("server.headless", value=False)
        with ThreadPoolExecutor(1) as pool:  # where no other test left a loop running
            assert pool.submit(asyncio.run, serve()).result() == "headless"
    finally:
        config.set_option("server.headless", before)
    (page,) = opened
    assert page.startswith("http://127.0.0.1:")


def test_a_run_gets_the_name_of_an_upload_and_no_copy_of_its_bytes():
    def page():
        import streamlit

        from detector.ui import streamlit_private

        streamlit_private.copy_no_upload()
        given = streamlit.file_uploader("One")
        if given is not None:
            streamlit.session_state.given = given
            streamlit.session_state.held = streamlit_private.uploads([given.file_id])[given.file_id].data

    app = AppTest.from_function(page, default_timeout=60).run()
    app.get("file_uploader")[0].upload("a.png", bytes(1000), "image/png").run()
    given = app.session_state["given"]
    assert (given.name, given.type, given.size, given.getvalue()) == ("a.png", "image/png", 1000, b"")
    assert copy.deepcopy([given])[0] == given
    assert app.session_state["held"] == bytes(1000)


def test_outside_of_a_run_there_is_no_session():
    assert streamlit_private.session_id() is None
    assert streamlit_private.uploads(["a"]) == {}
    streamlit_private.forget_upload("a")


def test_upload_is_found_by_its_identifier_and_forgotten_alone(monkeypatch):
    server = MemoryUploadedFileManager("/upload")
    for name in ("a", "b"):
        server.add_file("session", UploadedFileRec(name, f"{name}.png", "image/png", b"x"))
    run = SimpleNamespace(session_id="session", uploaded_file_mgr=server)
    monkeypatch.setattr(streamlit_private, "get_script_run_ctx", lambda **_: run)
    streamlit_private.forget_upload("a")
    assert streamlit_private.uploads(["a", "b", "c"]).keys() == {"b"}
