"""Random changes to training pictures: what another hospital, another device or another export would do.

Rank standardisation (`detector.model.preprocess`) already removes every rising tone curve, so what is left to imitate
is geometry, local contrast, resolution, noise, compression, and whatever is written, pasted or cut at the edges.
All functions take and return (H, W) float32 and change nothing in place. Noise and wires may leave [0, 1]; `augment`
brings the picture back at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from detector.model.preprocess import rank_standardise

if TYPE_CHECKING:
    from collections.abc import Callable

_STYLE_CYCLES = 6  # a picture: coarser than that is anatomy and disease, not style
_TINY = 1e-6  # of an amplitude: a flat picture has none

_LETTERS = ("R", "L", "AP", "PA", "SUPINE", "MOBILE", "ERECT", "PORTABLE", "A", "D", "SITTING", "R.L.", "12:40")
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN)


def augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change a picture as another hospital might have.

    Args:
        image: (H, W) float32 in [0, 1].
        rng: source of all randomness; the same state gives the same picture.

    Returns:
        (H, W) float32 in [0, 1].
    """
    image = move(image, rng)
    for change, probability in _CHANGES:
        if rng.random() < probability:
            image = change(image, rng)
    return np.asarray(np.clip(image, 0, 1), np.float32)


def move(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn by up to 12°, scale, stretch, shift and, every second time, mirror."""
    rows, columns = image.shape
    angle = np.deg2rad(rng.uniform(-12, 12))
    scale = np.exp(rng.uniform(-0.18, 0.18))
    stretch = np.exp(rng.uniform(-0.09, 0.09))
    mirror = -1 if rng.random() < 0.5 else 1
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = scale * np.array(
        [[cosine * stretch * mirror, -sine / stretch], [sine * stretch * mirror, cosine / stretch]]
    )
    centre = np.array([columns / 2, rows / 2])
    shift = rng.uniform(-0.08, 0.08, 2) * (columns, rows)
    offset = centre - matrix @ centre + shift
    border = cv2.BORDER_CONSTANT if rng.random() < 0.5 else cv2.BORDER_REPLICATE
    return cv2.warpAffine(
        image, np.column_stack([matrix, offset]), (columns, rows), flags=cv2.INTER_LINEAR, borderMode=border
    )


def adjust_tone(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure: gamma and a window that may saturate both ends."""
    low, high = rng.uniform(0, 0.12), rng.uniform(0.85, 1)
    return np.clip((image - low) / (high - low), 0, 1) ** np.float32(np.exp(rng.uniform(-0.6, 0.6)))


def equalise_locally(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """CLAHE, as many devices and some collections apply it."""
    tiles = int(rng.integers(2, 9))
    clahe = cv2.createCLAHE(clipLimit=float(rng.uniform(0.5, 3)), tileGridSize=(tiles, tiles))
    return clahe.apply(_to_uint8(image)).astype(np.float32) / 255


def tilt_exposure(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth gradient across the picture: scatter, grid cut-off, a tilted detector."""
    rows, columns = image.shape
    slope = rng.normal(0, 0.12, 2)
    plane = np.linspace(-1, 1, rows)[:, None] * slope[0] + np.linspace(-1, 1, columns) * slope[1]
    return np.asarray(np.clip(image + plane, 0, 1), np.float32)


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A softer picture: a photographed screen, a thumbnail, patient motion."""
    return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 2)))


def sharpen(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unsharp masking with the edge enhancement that devices apply, from fine to coarse."""
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(1, 12)))
    return np.asarray(np.clip(image + rng.uniform(0.2, 1.2) * (image - soft), 0, 1))


def add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Quantum noise: white, or correlated over a few pixels."""
    noise: np.ndarray = rng.normal(0, 1, image.shape).astype(np.float32)
    if rng.random() < 0.5:
        noise = cv2.GaussianBlur(noise, (0, 0), 1.2) * 3  # the blur takes two thirds of the amplitude
    return np.asarray(image + noise * rng.uniform(0.005, 0.05))


def compress(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A JPEG of another size and quality."""
    rows, columns = image.shape
    side = int(rng.integers(112, 225))
    small = cv2.resize(_to_uint8(image), (side, side), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))])
    decoded = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    return cv2.resize(np.asarray(decoded), (columns, rows), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255


def cut_borders(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Collimation: strips at the edges become black, white or the picture's mean."""
    image = image.copy()
    for _ in range(4):
        if rng.random() < 0.5:
            image[: int(rng.uniform(0, 0.12) * image.shape[0])] = _fill(image, rng)
        image = np.rot90(image)
    return np.ascontiguousarray(image)


def cut_corners(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxes over the corners, where markers and names are."""
    image = image.copy()
    for _ in range(4):
        if rng.random() < 0.5:
            height, width = (int(rng.uniform(0.05, 0.25) * side) for side in image.shape)
            image[:height, :width] = _fill(image, rng)
        image = np.rot90(image)
    return np.ascontiguousarray(image)


def write_marker(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lettering near the edges: side markers, "SUPINE", times; bright, dark or on a plate."""
    drawn = _to_uint8(image)  # OpenCV letters on 8 bits only
    sides = np.array(image.shape)
    for _ in range(int(rng.integers(1, 4))):
        inset = rng.uniform(0.02, 0.2, 2)
        row, column = (np.where(rng.random(2) < 0.5, inset, 1 - inset) * sides).astype(int).tolist()
        text, font = str(rng.choice(_LETTERS)), int(rng.choice(_FONTS))
        colour = int(rng.choice([0, 255, int(rng.integers(256))]))
        if rng.random() < 0.3:
            cv2.rectangle(drawn, (column - 3, row - 16), (column + 12 * len(text), row + 5), 255 - colour, -1)
        size, thickness = float(rng.uniform(0.3, 1)), int(rng.integers(1, 3))
        cv2.putText(drawn, text, (column, row), font, size, colour, thickness, cv2.LINE_AA)
    return drawn.astype(np.float32) / 255


def draw_wire(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A cable, a tube or an electrode: bright, thin and anywhere, so that intensive care names no disease."""
    image = np.ascontiguousarray(image).copy()
    rows, columns = image.shape
    points = rng.uniform(0, 1, (4, 2)) * (columns, rows)
    t = np.linspace(0, 1, 40)[:, None]
    curve = (
        (1 - t) ** 3 * points[0] + 3 * t * (1 - t) ** 2 * points[1] + 3 * t**2 * (1 - t) * points[2] + t**3 * points[3]
    )
    line = np.zeros_like(image)
    cv2.polylines(line, [curve.astype(np.int32)], isClosed=False, color=1.0, thickness=int(rng.integers(1, 4)))
    if rng.random() < 0.5:
        cv2.circle(line, curve[-1].astype(int).tolist(), int(rng.integers(3, 7)), 1.0, -1)
    return np.asarray(image + cv2.GaussianBlur(line, (0, 0), 0.7) * float(rng.uniform(0.1, 0.4)))


def cut_out(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hide up to three boxes of the network's input (DeVries and Taylor 2017, arXiv:1708.04552).

    Args:
        square: (size, size, 1) float32, standardised; changed in a copy.
        rng: source of randomness.
    """
    square = square.copy()
    rows, columns = square.shape[:2]
    for _ in range(int(rng.integers(0, 4))):
        height, width = (int(rng.uniform(0.06, 0.3) * side) for side in (rows, columns))
        top, left = int(rng.integers(0, rows - height)), int(rng.integers(0, columns - width))
        square[top : top + height, left : left + width] = rng.uniform(-1, 1)
    return square


def convolve_at_random(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix a picture with a random filtering of itself (RandConv; Xu et al. 2021, arXiv:2007.13003).

    Shapes stay, texture changes: what a network has learnt from texture alone stops working.
    """
    side = int(rng.choice([3, 5, 7]))
    kernel = rng.normal(0, 1 / side, (side, side))
    filtered = cv2.filter2D(image, -1, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)
    spread = float(filtered.std())
    if spread > 0:
        filtered = (filtered - filtered.mean()) / spread * image.std() + image.mean()
    share = np.float32(rng.uniform(0.1, 0.5))  # less than half, so that no picture turns into its negative
    return np.clip((1 - share) * image + share * filtered, 0, 1).astype(np.float32)


def mix_amplitudes(inputs: np.ndarray, rng: np.random.Generator, *, probability: float) -> np.ndarray:
    """Give pictures part of the spectrum of another one of the batch (after FACT; Xu et al. 2021, arXiv:2105.11120).

    The amplitudes above a few cycles a picture carry device and processing, the phases carry the anatomy; the lowest
    frequencies, in which a hazy lung differs from a clear one, stay as they are.

    Args:
        inputs: (N, size, size, 1) float32, standardised.
        rng: source of randomness.
        probability: of each picture to be changed.

    Returns:
        (N, size, size, 1) float32, standardised again; the inputs are not changed.
    """
    others = rng.permutation(len(inputs))
    size = inputs.shape[1]
    rows, columns = np.fft.fftfreq(size) * size, np.fft.rfftfreq(size) * size
    fine = np.hypot(rows[:, None], columns) > _STYLE_CYCLES
    changed = inputs.copy()
    for i in np.flatnonzero(rng.random(len(inputs)) < probability):
        spectrum, other = (np.fft.rfft2(inputs[j, ..., 0]) for j in (i, others[i]))
        amplitude = np.abs(spectrum)
        share = rng.uniform(0, 1) * fine
        gain = (amplitude + share * (np.abs(other) - amplitude)) / np.maximum(amplitude, _TINY)
        changed[i, ..., 0] = rank_standardise(np.fft.irfft2(spectrum * gain, s=(size, size)).astype(np.float32))
    return changed


def _to_uint8(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(image, 0, 1) * 255).astype(np.uint8)  # without the clip, white wraps round to black


def _fill(image: np.ndarray, rng: np.random.Generator) -> float:
    return float(rng.choice([0.0, 0.0, 1.0, float(image.mean())]))


#: The changes in the order in which they happen to a picture, and how often.
_CHANGES: tuple[tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], float], ...] = (
    (tilt_exposure, 0.3),
    (draw_wire, 0.25),
    (equalise_locally, 0.3),
    (sharpen, 0.3),
    (blur, 0.3),
    (adjust_tone, 0.5),
    (add_noise, 0.4),
    (cut_borders, 0.3),
    (cut_corners, 0.3),
    (write_marker, 0.4),
    (compress, 0.3),
)
