"""Real sample X-rays, fetched from their public addresses when the user asks, and only then.

Each file is pinned by its SHA-256 and kept in the user's cache folder, so that a second click needs no network.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from detector.errors import SampleCacheError, SampleDownloadError, SampleNetworkError
from detector.paths import ASSETS

_LIST = ASSETS / "samples.csv"
_TIMEOUT = 10  # seconds without a byte: a clinician's network that blocks an address often just stays silent
CACHE_VARIABLE = "DETECTOR_CACHE"


@dataclass(frozen=True)
class Sample:
    """One published radiograph.

    Attributes:
        file: name to show and to keep it under.
        label: what the publication says it shows.
        sha256: of the file.
        address: where it is published.
        licence: as the collection gives it.
    """

    file: str
    label: str
    sha256: str
    address: str
    licence: str


def listed_samples(path: Path = _LIST) -> list[Sample]:
    """The samples of ``assets/samples.csv``."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Sample(**row) for row in csv.DictReader(file)]


def fetch(sample: Sample) -> bytes:
    """Fetch one sample, or read it from the cache.

    Raises:
        SampleNetworkError: if the address can't be reached.
        SampleDownloadError: if the file is gone, or is not the one that was pinned.
        SampleCacheError: if it can't be kept.
    """
    import pooch  # noqa: PLC0415 - who fetches no sample should not wait for it
    import requests  # noqa: PLC0415

    download = pooch.HTTPDownloader(timeout=_TIMEOUT)
    try:
        path = pooch.retrieve(
            sample.address, known_hash=f"sha256:{sample.sha256}", fname=sample.file, path=_cache(), downloader=download
        )
        return Path(path).read_bytes()
    except (requests.ConnectionError, requests.Timeout) as error:
        raise SampleNetworkError(f"{sample.address}: {error}") from error
    except (requests.RequestException, ValueError) as error:  # an HTTP error, or another hash than the pinned one
        raise SampleDownloadError(f"{sample.address}: {error}") from error
    except OSError as error:
        raise SampleCacheError(f"{_cache()}: {error}") from error


def _cache() -> Path:
    """The user's cache folder, or the folder that the environment names."""
    import pooch  # noqa: PLC0415

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("chest-xray-detector"))
