"""Keeps a file that is dropped at the moment when the page is drawn anew.

The browser asks the server where to send a file before it sends it. Where a run of the page begins just then, Streamlit
(1.67) forgets what it has not sent yet, that answer too, and the browser waits for ever: one file in two hundred was
lost among files that were being analysed.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

_ANSWER = "file_urls_response"


@cache
def keep() -> None:
    """Have all queues of messages to browsers keep these answers, from now on."""
    clear = ForwardMsgQueue.clear

    def clear_all_else(self: ForwardMsgQueue, *arguments: Any, **options: Any) -> None:
        answers = [message for message in self._queue if message.WhichOneof("type") == _ANSWER]
        clear(self, *arguments, **options)
        if arguments or options:  # without, it is `flush`, which has taken everything to send it
            self._queue += [answer for answer in answers if answer not in self._queue]

    ForwardMsgQueue.clear = clear_all_else
