"""`analyse`, the library's one call: what goes in, what comes out, what is refused."""

import numpy as np
import pytest

from detector.errors import NoContrastError, RejectedError, UnsupportedFormatError
from detector.image_io import read_radiograph
from detector.pipeline import analyse
from detector.schema import TASKS
from tests.conftest import COMPOSITES, encode, make_dicom


def test_analysis_holds_every_class_of_both_tasks(classifier, composite):
    analysis = analyse(composite, classifier)
    for task in TASKS:
        assert analysis.cams[task.name].shape == (len(task.classes), 10, 10)
        assert analysis.logits[task.name].shape == (task.logits,)
    assert analysis.model == classifier.card.info
    assert analysis.analysed_at.endswith("+00:00")


def test_lung_field_of_a_composite_is_two_lungs_and_no_border(classifier, composite):
    field = analyse(composite, classifier).lung_field
    assert 0.15 < field.mean() < 0.5
    assert not field[0].any()
    assert not field[:, 0].any()
    assert field[:, :80].any()
    assert field[:, 80:].any()


@pytest.mark.parametrize("label", ["normal", "bacterial_pneumonia", "covid19"])
def test_shipped_network_recognises_the_composites(classifier, label):
    analysis = analyse((COMPOSITES / f"{label}.png").read_bytes(), classifier)
    probabilities = classifier.card.calibration.probabilities(TASKS[1], analysis.logits["three_class"])
    assert TASKS[1].classes[int(probabilities.argmax())] == label


def test_same_picture_in_three_formats_answers_alike(classifier, composite, composite_pixels):
    from_png = analyse(composite, classifier).logits
    from_dicom = analyse(make_dicom(composite_pixels, WindowCenter=128, WindowWidth=256), classifier).logits
    from_jpeg = analyse(encode(composite_pixels, ".jpg", parameters=(1, 100)), classifier).logits
    for task in TASKS:
        np.testing.assert_allclose(from_dicom[task.name], from_png[task.name], atol=1e-3)
        np.testing.assert_allclose(from_jpeg[task.name], from_png[task.name], atol=0.1)


def test_picture_stored_inverted_as_monochrome1_answers_alike(classifier, composite_pixels):
    twin = make_dicom(255 - composite_pixels, PhotometricInterpretation="MONOCHROME1")
    logits = [analyse(data, classifier).logits for data in (make_dicom(composite_pixels), twin)]
    for task in TASKS:
        np.testing.assert_allclose(logits[0][task.name], logits[1][task.name], atol=1e-3)


def test_exposure_does_not_change_the_answer_much(classifier, composite_pixels):
    darker = (255 * (composite_pixels / 255.0) ** 1.6).round().astype(np.uint16) * 256
    logits = [analyse(encode(pixels), classifier).logits["binary"] for pixels in (composite_pixels, darker)]
    assert abs(logits[0] - logits[1]) < 0.3


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", RejectedError),
        (b"not an image", UnsupportedFormatError),
        (encode(np.zeros((300, 300), np.uint8)), NoContrastError),
    ],
    ids=["empty", "text", "blank"],
)
def test_refusals_name_what_to_do_and_never_reach_the_network(classifier, data, error):
    before = classifier.forward_passes
    with pytest.raises(error) as caught:
        analyse(data, classifier)
    assert caught.value.user_message.endswith(".")
    assert classifier.forward_passes == before


def test_real_dicom_and_its_inverted_twin_answer_alike(classifier, samples):
    names = ("rsna_adult.dcm", "rsna_adult_monochrome1.dcm")
    logits = [analyse((samples / name).read_bytes(), classifier).logits for name in names]
    for task in TASKS:
        np.testing.assert_allclose(logits[0][task.name], logits[1][task.name], atol=1e-3)


def test_every_real_sample_picture_is_read(samples):
    pictures = [path for path in sorted(samples.iterdir()) if path.suffix != ".csv"]
    assert pictures
    for path in pictures:
        pixels = read_radiograph(path.read_bytes()).pixels
        assert pixels.dtype == np.float32
        assert pixels.min() >= 0
        assert pixels.max() <= 1
