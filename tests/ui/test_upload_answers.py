"""Where to send a file: the server's answer survives a run of the page that begins before it is sent."""

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from detector.ui import upload_answers


@pytest.fixture
def queue():
    """A drawn element, then the answer, not yet sent."""
    upload_answers.keep()
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
def test_run_that_begins_keeps_the_answer_once(queue, fragments):
    queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=fragments)
    assert kinds(queue.flush()).count("file_urls_response") == 1


def test_run_that_begins_forgets_what_was_drawn(queue):
    queue.clear(retain_lifecycle_msgs=True)
    assert "delta" not in kinds(queue.flush())


def test_what_was_sent_is_not_sent_again(queue):
    assert kinds(queue.flush()) == ["delta", "file_urls_response"]
    assert queue.is_empty()
