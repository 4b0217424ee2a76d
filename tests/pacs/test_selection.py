"""Which images of an archive are passed over by their header."""

from types import SimpleNamespace

import pytest
from pydicom.dataset import Dataset

from detector.errors import ExcludedError, NotFrontalError, OtherBodyPartError
from detector.pacs.selection import check_source


def source(patient="1", **elements):
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return SimpleNamespace(patient_id=patient, dataset=dataset)


@pytest.mark.parametrize(
    "elements",
    [
        {},  # nothing said: the gate decides by the picture
        {"ViewPosition": "PA", "BodyPartExamined": "CHEST"},
        {"ViewPosition": "AP SUPINE", "BodyPartExamined": "PORTABLE CHEST"},
    ],
)
def test_frontal_or_unsaid_is_taken(elements):
    check_source(source(**elements), excluded={"2"})


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (source(ViewPosition="LL"), NotFrontalError),
        (source(ViewPosition="LATERAL"), NotFrontalError),
        (source(BodyPartExamined="HAND"), OtherBodyPartError),
        (source(patient="2", ViewPosition="PA"), ExcludedError),
    ],
)
def test_another_view_part_or_an_excluded_patient_is_passed_over(given, error):
    with pytest.raises(error):
        check_source(given, excluded={"2"})
