"""Every error that the program raises on purpose.

Two audiences: ``str(error)`` and the log are for us; ``user_message`` is for the clinician and says what
happened and what to do. ``code`` is stable and appears in JSON results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.schema import Correction


class DetectorError(Exception):
    """Base of all errors raised on purpose.

    Attributes:
        code: stable identifier of the reason.
        user_message: what happened and what to do, in one or two sentences.
    """

    code: ClassVar[str] = "failed"
    user_message: ClassVar[str] = "The analysis failed. Try the file again, or another copy of it."


class RejectedError(DetectorError):
    """An input that is rejected for a stated reason; the program is fine.

    Attributes:
        can_force: whether a reader may have it analysed anyway.
        suggested_correction: what might make it acceptable, where that is known.
    """

    code = "rejected"
    can_force: ClassVar[bool] = False

    def __init__(self, message: str = "", *, suggested_correction: Correction | None = None) -> None:
        super().__init__(message)
        self.suggested_correction = suggested_correction


class EmptyFileError(RejectedError):
    """The file has no bytes."""

    code = "empty_file"
    user_message = "The file is empty. Export the image again and upload the new file."


class UnsupportedFormatError(RejectedError):
    """The bytes are neither PNG, JPEG nor DICOM."""

    code = "unsupported_format"
    user_message = "This is not a PNG, JPEG or DICOM file. Export the X-ray in one of these formats."


class UnreadableError(RejectedError):
    """The format is known, but the bytes are damaged or incomplete."""

    code = "unreadable"
    user_message = "The file is damaged or incomplete. Export the image again and upload the new file."


class TooLargeError(RejectedError):
    """More bytes or pixels than a radiograph has."""

    code = "too_large"
    user_message = (
        "The image is larger than a radiograph can be (25 MB for a picture, 64 MB for a DICOM file, 50 megapixels). "
        "Export it at its original size."
    )


class TooSmallError(RejectedError):
    """Too few pixels to show a lung."""

    code = "too_small"
    user_message = "The image is too small to be read: both sides need at least 64 pixels. Upload the original."


class AspectRatioError(RejectedError):
    """Far longer than wide, or the other way round."""

    code = "aspect_ratio"
    user_message = "The image is too long and narrow for a chest X-ray. Upload the whole picture."


class TransparentError(RejectedError):
    """Every pixel is fully transparent."""

    code = "transparent"
    user_message = "The picture is fully transparent. Export the X-ray without transparency."


class NoContrastError(RejectedError):
    """All pixels have one value, or none is a number."""

    code = "no_contrast"
    user_message = "The image is blank: all of its pixels have the same value. Upload another copy."


class AnimatedError(RejectedError):
    """A picture of several frames."""

    code = "several_frames"
    user_message = "The file contains several frames. Export the frontal X-ray as a single image."


class UnsupportedDicomError(RejectedError):
    """A sound DICOM file, but not a single-frame greyscale radiograph."""

    code = "unsupported_dicom"
    user_message = (
        "This DICOM file does not contain a single greyscale X-ray image. Export the frontal chest X-ray itself."
    )


class UnsupportedTransferSyntaxError(RejectedError):
    """A DICOM compression that is not decoded here."""

    code = "unsupported_transfer_syntax"
    user_message = (
        "This DICOM file is compressed in a way that is not supported. Export it uncompressed or as JPEG 2000."
    )


class DecodingLimitError(RejectedError):
    """Decoding takes more time or memory than a radiograph needs."""

    code = "decoding_limit"
    user_message = (
        "Reading this file takes more time or memory than an X-ray needs. Export it again, uncompressed or as PNG."
    )


class DecoderCrashError(RejectedError):
    """The file crashed the process that decoded it."""

    code = "decoder_crash"
    user_message = (
        "The file could not be read: it crashed the decoder. Other files are not affected. Export this one again."
    )


class NotAChestXrayError(RejectedError):
    """The gate does not recognise one frontal chest X-ray."""

    code = "not_a_chest_xray"
    can_force = True
    user_message = "This does not look like a single frontal chest X-ray. Upload a PA or AP image of the chest."


class SideViewError(NotAChestXrayError):
    """A lateral view."""

    user_message = "This looks like a lateral view. Upload the frontal (PA or AP) image of the study."


class SliceError(NotAChestXrayError):
    """A slice through the chest."""

    user_message = "This looks like a CT slice. Upload a frontal chest X-ray (PA or AP)."


class TurnedError(NotAChestXrayError):
    """A chest X-ray that is rotated by a quarter or half turn."""

    user_message = "The picture seems to be rotated. Rotate it until the head is at the top, and try again."


class InvertedError(NotAChestXrayError):
    """A chest X-ray whose bones are black."""

    user_message = "The image seems inverted. Invert the picture, so that bones are white, and try again."


class UnreadablePathError(RejectedError):
    """A path that is not a regular file or may not be read."""

    code = "unreadable_path"
    user_message = "The file cannot be opened. Check that it exists and that you may read it."


class DecoderUnavailableError(DetectorError):
    """The process that decodes files can't be started."""

    code = "decoder_unavailable"
    user_message = "Files cannot be read at the moment: the decoder did not start. Close other programs and try again."


class StoreError(DetectorError):
    """An image store that was given by its address does not answer."""

    code = "store"
    user_message = "The image store does not answer. Check its address, and run the same command with --resume."


class ClusterError(DetectorError):
    """The cluster can't be started or reached, or has no worker left."""

    code = "cluster"
    user_message = "The cluster does not answer. Check its address, and run the same command with --resume."


class WorkerLostError(DetectorError):
    """The file ended every worker that tried it."""

    code = "worker_lost"
    user_message = "This file ended the process that analysed it. The other files are not affected. Try another copy."


class NonFiniteError(DetectorError):
    """The network answered with NaN or infinity, so there is no answer."""

    code = "non_finite"
    user_message = "The network gave no valid number for this image, so there is no answer."


class ExcludedError(RejectedError):
    """The patient is on the site's exclusion list."""

    code = "excluded"
    user_message = "This patient is excluded from analysis at this site."


class NotFrontalError(RejectedError):
    """The header names a view that is not frontal."""

    code = "view_position"
    user_message = "The header says that this is not a frontal view."


class OtherBodyPartError(RejectedError):
    """The header names another body part."""

    code = "body_part"
    user_message = "The header says that this is not a chest."


class ModelError(DetectorError):
    """The model is missing, damaged or not the one that its card describes."""

    code = "model"
    user_message = "The network's files are missing or damaged. Install the app again."


class SiteError(DetectorError):
    """A site file is damaged, edited, or was made for other weights."""

    code = "site"
    user_message = (
        "The site file does not belong to this version of the network, or was damaged or edited. Make it again with "
        "`cxr-detector calibrate`."
    )


class ManifestError(DetectorError):
    """A manifest or an image that it names can't be used."""

    code = "manifest"
    user_message = "The manifest cannot be used. Check its path, its columns and its labels."


class UnexpectedError(DetectorError):
    """Something failed that should not have; the log has the traceback."""

    code = "unexpected"
    user_message = "This file could not be analysed. The other files are not affected. Try another copy of it."


class OutputError(DetectorError):
    """Results cannot be written."""

    code = "output"
    user_message = "The results cannot be written. Check that the folder exists and that the disk is not full."


class FolderInUseError(OutputError):
    """Another run is writing to the same folder."""

    user_message = "Another run is writing to this folder. Wait until it is finished, or choose another folder."


class NotOurFileError(OutputError):
    """Something else is where results would be written: a link, a pipe, a folder."""

    user_message = "The results cannot be written: their name is taken by a link or by something that is not a file."


class SampleDownloadError(DetectorError):
    """A sample X-ray could not be fetched, or is not the file that was published."""

    code = "sample_download"
    user_message = "A sample X-ray is no longer published as it was, so it is left out."


class SampleNetworkError(SampleDownloadError):
    """The address can't be reached."""

    code = "sample_network"
    user_message = "The sample X-rays cannot be fetched: there is no connection to the internet."


class SampleCacheError(SampleDownloadError):
    """The cache folder can't be written or read."""

    code = "sample_cache"
    user_message = "The sample X-rays cannot be kept on this computer. Check that the disk is not full."


def refusals() -> dict[str, type[RejectedError]]:
    """Every reason for which an input is rejected, by code; docs/inputs.md lists them for the user."""
    found: dict[str, type[RejectedError]] = {}
    for error in _below(RejectedError):
        found.setdefault(error.code, error)  # children that share a code with their parent come after it
    return found


def _below(error: type[RejectedError]) -> Iterator[type[RejectedError]]:
    for child in error.__subclasses__():
        yield child
        yield from _below(child)
