"""What stands below a comparison with the collections: what took no part, and how far the test can be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detector import words

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE = "50"  # X-rays of the batches that are told of


def not_compared(left_out: Mapping[str, int]) -> list[str]:
    """Files that took no part, a sentence each reason."""
    return [words.SITE_LEFT_OUT.format(count=count, reason=reason) for reason, count in left_out.items()]


def checked(found: Mapping[str, Any]) -> list[str]:
    """What the test said of batches that took no part in it, from what ``compare.json`` holds."""
    alarms = found.get("false_alarms", {}).get(_SIZE, {}).get("all")
    shares = {name: by_size.get(_SIZE, {}).get("all") for name, by_size in found.get("left_out", {}).items()}
    said = [words.LIKENESS_CHECKED.format(false_alarms=words.percent(alarms["value"]))] if alarms else []
    told = [f"{name} {words.percent(share['value'])}" for name, share in shares.items() if share]
    return [*said, words.LIKENESS_LEFT_OUT.format(shares=", ".join(told))] if told else said
