"""What a run is given: files, folders, manifests and addresses of a store -> names, and the bytes of each.

A name is what stands in the row: a path as it was given, or an address with its protocol. Stores are fsspec's affair,
so whatever it knows can be read (HTTP, S3, …); credentials are taken from the environment, as fsspec documents it.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from detector.errors import ManifestError, StoreError, UnreadablePathError
from detector.read.image_io import MAX_DICOM_BYTES
from detector.run.results import is_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_LOG = logging.getLogger(__name__)
_Told = TypeVar("_Told")

_READ_LIMIT = MAX_DICOM_BYTES + 1  # enough to see that a file is too large, whatever its size
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # no pipe holds up the open
_SCHEME = "://"  # a path never holds it: two slashes are one there
_PAUSES = (0.5, 2.0)  # seconds before a store is asked again; a third failure in a row is no hiccup
_MISSING = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)  # another try changes nothing
_REFUSED = range(400, 500)  # of HTTP's statuses, those that say so


def is_address(name: str) -> bool:
    """Whether a name is that of something in a store, and not a path."""
    return _SCHEME in name


def find_inputs(
    places: Sequence[Path | str], *, manifest: Path | None = None, images: str | None = None, out: Path | None = None
) -> Iterator[str]:
    """Yield the name of every input once: all below files, folders and addresses, then what a manifest names.

    Args:
        places: paths and addresses; an address that ends with a slash is a folder.
        manifest: a CSV file with a column ``image``.
        images: what its paths are relative to, a folder or an address; the manifest's own folder where None.
        out: folder of results, which are no inputs.

    Raises:
        StoreError: if a store can't be listed.
        ManifestError: if the manifest can't be read, or has no such column.
    """
    names = (name for place in places for name in _below(place, out))
    if manifest is None:
        yield from names if len(places) == 1 else _once(names)  # one folder has no file twice, and may have millions
    else:
        yield from _once(names)
        yield from _once(_listed(manifest, images if images is not None else str(manifest.parent)))


def find_files(paths: Sequence[Path], *, out: Path | None = None) -> Iterator[Path]:
    """Yield every regular file of the given files and folders once, folders recursively and in order.

    Links to folders are not followed, since they can lead in circles. Pipes, devices and what an earlier run has
    written to `out` are passed over with a warning.
    """
    return map(Path, find_inputs(paths, out=out))


def _once(names: Iterable[str]) -> Iterator[str]:
    """Pass each input once, whatever way a path leads to it."""
    seen = set()
    for name in names:
        # Path.resolve would make a link and its target one file
        whole = name if is_address(name) else os.path.abspath(name)  # noqa: PTH100
        if whole not in seen:
            seen.add(whole)
            yield name


def _below(place: Path | str, out: Path | None) -> Iterator[str]:
    if is_address(str(place)):
        yield from _stored_below(str(place))
        return
    for path in _files_below(Path(place)):
        if out is not None and _is_own(path, out):
            _LOG.warning("skipped, a result of this program: %s", path)
        elif _may_be_regular(path):
            yield str(path)
        else:
            _LOG.warning("skipped, not a regular file: %s", path)


def _files_below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for root, folders, names in os.walk(path, onerror=lambda error: _LOG.warning("skipped: %s", error)):
        folders.sort()
        for folder in folders:
            if Path(root, folder).is_symlink():
                _LOG.warning("skipped, a link to a folder: %s", Path(root, folder))
        yield from (Path(root, name) for name in sorted(names))


def _may_be_regular(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that may be listed but not entered: reading it gives the reason
        return True


def _is_own(path: Path, out: Path) -> bool:
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - see _once
    return is_result(absolute.name) and absolute.is_relative_to(os.path.abspath(out))  # noqa: PTH100


def _stored_below(address: str) -> Iterator[str]:
    """Addresses of all objects below one, in order; its own where it is no folder."""
    store, root = _store(address)
    is_web = address.startswith(("http://", "https://"))  # fsspec takes any page for a folder
    if not (address.endswith("/") or (not is_web and _patiently(address, lambda: store.isdir(root)))):
        yield address
        return
    try:
        for _, folders, files in store.walk(root, on_error="raise", detail=True):
            for name in sorted(folders):  # the order in which walk goes on is that of its dictionary
                folders[name] = folders.pop(name)
            yield from sorted(str(store.unstrip_protocol(info["name"])) for info in files.values())
    except Exception as error:  # each store raises what its own client does
        raise StoreError(f"{address} cannot be listed: {error}.") from error


def _listed(manifest: Path, images: str) -> Iterator[str]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "image" not in (rows.fieldnames or ()):
                raise ManifestError(f"{manifest} must have a column 'image'. Received {rows.fieldnames}.")
            for row in rows:
                image = row["image"] or ""
                if is_address(image):
                    yield image
                else:
                    yield f"{images.rstrip('/')}/{image}" if is_address(images) else str(Path(images, image))
    except (OSError, ValueError, csv.Error) as error:
        raise ManifestError(f"{manifest} cannot be read: {error}.") from error


@dataclass(frozen=True)
class InputFile:
    """Bytes of a file and their hash; cut off where they exceed every limit, and then without one.

    To hash a file is to read all of it: a disk image in the folder would hold up the run for minutes, for a refusal.
    """

    data: bytes
    sha256: str | None


def read_input(place: str) -> InputFile:
    """Read a file, or an object of a store, as far as a radiograph can be long.

    Raises:
        UnreadablePathError: if there is no such file, or it may not be read.
        StoreError: if its store does not answer, several times in a row.
    """
    data = _read_stored(place) if is_address(place) else _read_file(place)
    return InputFile(data, hashlib.sha256(data).hexdigest() if len(data) < _READ_LIMIT else None)


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _OPEN_FLAGS)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was one when the folder was read
                raise UnreadablePathError(f"{path} is no regular file.")
            return file.read(_READ_LIMIT)
    except (OSError, ValueError) as error:  # the latter for a name with a zero byte in it
        raise UnreadablePathError(f"{path}: {error}") from error


def _read_stored(address: str) -> bytes:
    store, path = _store(address)
    # Over HTTP a range is for servers that know ranges; a stream can be left off anywhere.
    options = {"block_size": 0} if address.startswith(("http://", "https://")) else {}

    def read() -> bytes:
        content = bytearray()
        with store.open(path, "rb", **options) as file:
            while part := file.read(_READ_LIMIT - len(content)):  # a stream gives what has come so far
                content += part
        return bytes(content)

    try:
        return _patiently(address, read)
    except _MISSING as error:
        raise UnreadablePathError(f"{address}: {error}") from error


def _store(address: str) -> tuple[Any, str]:
    """The store of an address and the path in it."""
    from fsspec.core import url_to_fs  # noqa: PLC0415 - few runs need it, and it is not always installed

    try:
        store, path = url_to_fs(address, use_listings_cache=False)
    except (ValueError, ImportError) as error:  # no such protocol, or its client is not installed
        raise StoreError(f"{address} cannot be read: {error}") from error
    return store, str(path)


def _is_missing(error: Exception) -> bool:
    """Whether a store has answered that it does not have or give a file; fsspec says so too where none answered."""
    cause = error.__cause__
    answered = cause is None or isinstance(cause, _MISSING) or getattr(cause, "status", 0) in _REFUSED
    return isinstance(error, _MISSING) and answered


def _patiently(address: str, ask: Callable[[], _Told]) -> _Told:
    """Ask a store, and again after a pause where it fails."""
    for pause in (0.0, *_PAUSES):
        time.sleep(pause)
        try:
            return ask()
        except Exception as error:  # each store raises what its own client does
            if _is_missing(error):
                raise
            failure = error
    raise StoreError(f"{address} cannot be read: {failure}.") from failure
