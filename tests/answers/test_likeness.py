"""Are X-rays like the collections? On a summary that is made up."""

from dataclasses import replace

import numpy as np
import pytest

from detector import words
from detector.answers.likeness import LARGEST, LEAST, SUMMARY, Collections, compare, load_collections, sentences
from detector.answers.traits import Traits, traits_of
from detector.errors import ModelError
from detector.schema import Radiograph
from detector.statistics.mixture import fourier_features

RNG = np.random.default_rng(8)
FREQUENCIES, PHASES = RNG.normal(size=(2, 200)), RNG.uniform(0, 2 * np.pi, 200)
PLACES = {"north": (0.0, 0.0, 0.0), "south": (3.0, 0.0, 0.0)}
SIGNS = {
    "ap": (5, 100), "children": (0, 100), "equalised": (0, 100), "longer_side": (200, 1000, 3000),
    "grey": (0.3, 0.5, 0.7), "spread": (0.5, 0.7, 0.9),
}  # fmt: skip


def points(place, n):
    return RNG.normal(size=(n, 3)) * (0.4, 0.4, 5.0) + place


def traits(features, **changes):
    usual = {"view": "PA", "age": 50.0, "longer_side": 1000, "grey": 0.5, "spread": 0.7, "unevenness": 0.2}
    return [Traits(np.asarray(one, np.float32), **(usual | changes)) for one in features]


@pytest.fixture(scope="module")
def collections():
    projection = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])  # the third channel is noise that no direction takes
    means = [fourier_features(points(p, 4000) @ projection, FREQUENCIES, PHASES).mean(axis=0) for p in PLACES.values()]
    return Collections(
        "0" * 64, np.zeros(3), projection, FREQUENCIES, PHASES, np.array(means), tuple(PLACES),
        np.array([20.0, 50.0, 200.0]), np.array([1.8, 1.9, 2.2]), SIGNS, {},
    )  # fmt: skip


def test_any_mix_of_the_collections_is_alike(collections):
    features = np.concatenate([points(PLACES["north"], 6), points(PLACES["south"], 24)])
    found = compare(traits(features), collections)
    assert not found.differs
    assert [name for name, _ in found.nearest] == ["south", "north"]
    assert dict(found.nearest)["south"] == pytest.approx(0.8, abs=0.05)
    assert "south (8" in sentences(found)[0]


def test_another_hospital_differs(collections):
    found = compare(traits(points((1.5, 1.0, 0.0), 30)), collections)
    assert found.differs
    assert found.ratio > 2 * found.limit
    assert "calibrate" in sentences(found)[0]


def test_fewer_than_the_least_are_not_compared(collections):
    found = compare(traits(points(PLACES["north"], LEAST - 1)), collections)
    assert (found.ratio, found.differs) == (None, False)
    assert f"at least {LEAST}" in sentences(found)[0]


def test_order_changes_nothing_but_for_more_than_the_largest(collections):
    sample = traits(points(PLACES["north"], 60))
    assert compare(sample, collections).ratio == pytest.approx(compare(sample[::-1], collections).ratio)
    many = traits(points(PLACES["north"], 2 * LARGEST))
    assert compare(many, collections).limit == collections.limit(LARGEST)


def test_limit_lies_between_its_neighbours(collections):
    assert collections.limit(35) == pytest.approx(1.85)
    assert collections.limit(5000) == 2.2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"view": "AP"}, "AP view: 100 % of 30 here that state a view, 5 % of 100"),
        ({"age": 4.0}, "Under 16 years: 100 %"),
        ({"unevenness": 0.01}, "Histogram equalised: 100 %"),
        ({"longer_side": 4000}, "Resolution: 4000 pixels"),
        ({"grey": 0.9}, "median grey 0.90"),
        ({"spread": 0.1}, "spread over 0.10"),
    ],
)
def test_signs_that_differ_are_said(collections, changes, said):
    told = sentences(compare(traits(points(PLACES["north"], 30), **changes), collections))
    assert len(told) == 2
    assert said in told[1]


def test_signs_that_do_not_differ_or_that_no_header_tells_are_not(collections):
    assert len(sentences(compare(traits(points(PLACES["north"], 30)), collections))) == 1
    unknown = compare(traits(points(PLACES["north"], 30), view="", age=None), collections)
    assert len(sentences(unknown)) == 1


class TestFile:
    def test_what_was_written_is_read(self, collections, tmp_path):
        (tmp_path / SUMMARY).write_bytes(collections.to_bytes())
        found = load_collections(tmp_path, "0" * 64)
        sample = traits(points(PLACES["north"], 30))
        assert compare(sample, found).ratio == pytest.approx(compare(sample, collections).ratio, rel=1e-3)
        assert found.groups == collections.groups

    def test_other_weights_are_refused(self, collections, tmp_path):
        (tmp_path / SUMMARY).write_bytes(collections.to_bytes())
        with pytest.raises(ModelError, match="weights"):
            load_collections(tmp_path, "1" * 64)

    def test_missing_and_cut_off_files_are_refused(self, collections, tmp_path):
        with pytest.raises(ModelError):
            load_collections(tmp_path, "0" * 64)
        (tmp_path / SUMMARY).write_bytes(collections.to_bytes()[:-100])
        with pytest.raises(ModelError):
            load_collections(tmp_path, "0" * 64)

    @pytest.mark.parametrize(
        "change",
        [
            {"centre": np.zeros(4)},
            {"limits": np.array([1.0, np.nan, 2.0])},
            {"limits": np.array([1.0, -1.0, 2.0])},
            {"sizes": np.array([20.0, 20.0, 30.0])},
            {"sizes": np.array([30.0, 40.0, 50.0])},
            {"groups": ("north",)},
            {"signs": {"ap": (1, 2)}},
        ],
        ids=str,
    )
    def test_what_could_not_be_true_is_refused(self, collections, tmp_path, change):
        (tmp_path / SUMMARY).write_bytes(replace(collections, **change).to_bytes())
        with pytest.raises(ModelError):
            load_collections(tmp_path, "0" * 64)


class TestTraits:
    def test_even_grey_values_are_those_of_an_equalised_picture(self, network_output):
        even = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
        found = traits_of(Radiograph(even, "PNG", "", "", "AP", age=3.5), network_output)
        assert found.unevenness < 0.02
        assert found.grey == pytest.approx(0.5, abs=0.01)
        assert found.spread == pytest.approx(0.9, abs=0.01)
        assert (found.view, found.age, found.longer_side) == ("AP", 3.5, 256)

    def test_dark_picture_of_floats(self, network_output):
        dark = np.zeros((100, 300), np.float32)
        dark[0, 0] = 1
        found = traits_of(Radiograph(dark, "PNG", "", ""), network_output)
        assert found.grey == 0
        assert found.unevenness > 0.9
        assert (found.view, found.age) == ("", None)

    @pytest.fixture
    def network_output(self):
        from detector.schema import NetworkOutput

        return NetworkOutput({}, np.zeros((1, 1, 3)), np.zeros(3, np.float32), np.zeros(1))


def test_analysis_carries_its_traits(engine, composite):
    from detector import analyse

    found = analyse(composite, engine).traits
    assert found.features.shape == (engine.kernels["binary"].shape[0],)
    assert found.longer_side == 512


def test_every_sign_has_words():
    assert {*words.LIKENESS_SHARES, *words.LIKENESS_MIDDLES} == set(SIGNS)
