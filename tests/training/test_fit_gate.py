"""Fitting the gate: made-up features that it must tell apart, thresholds by their quantiles, and what it is shown."""

from dataclasses import replace

import numpy as np
import pytest

from detector.errors import ManifestError
from detector.model.gate import CORRECTIONS, VIEWS, correct, load_gate
from detector.schema import Geometry, NetworkInput, NetworkOutput, Radiograph
from detector.training.data.manifest import Example, read_image
from detector.training.fit import gate as module
from detector.training.fit.gate import (
    Seen,
    crossed_odds,
    crossed_rates,
    fit_gate,
    frontal_seen,
    held_out_rates,
    kinds_of,
    left_out_rates,
    not_frontal_seen,
    others_seen,
    refusal_rates,
    save_gate,
    spread,
    turned_seen,
)
from tests.conftest import encode


def seen_of(views, sources="a", *, seed=0, child=-1):
    """Features in which each view has a direction of its own, with noise about it."""
    views = np.array(views)
    rng = np.random.default_rng(seed)
    features = 6 * np.eye(len(VIEWS))[[VIEWS.index(view) for view in views]] + rng.normal(size=(len(views), len(VIEWS)))
    sources = np.array([sources] * len(views)) if isinstance(sources, str) else np.array(sources)
    return Seen(features.astype(np.float32), views, sources, np.broadcast_to(np.array(child), len(views)).copy())


@pytest.fixture
def _at_once(monkeypatch):
    """Least squares in the place of the regression, where the regression is not what is tested."""

    def solve(features, truth, *, classes, seed):
        del seed
        kernel = np.linalg.lstsq(features, np.eye(classes)[truth], rcond=None)[0]
        return kernel, np.zeros(classes)

    monkeypatch.setattr(module, "_linear", solve)


@pytest.fixture(scope="module")
def train():
    """Forty pictures of each view; every second frontal one is a child's, that differs in nothing but one feature."""
    seen = seen_of(list(VIEWS) * 40)
    frontal = seen.views == "frontal"
    seen.child[frontal] = np.arange(frontal.sum()) % 2
    seen.features[seen.child == 1, 7] -= 12
    return seen


@pytest.fixture(scope="module")
def validation():
    """1001 frontal pictures of either of two sources, of which one lies nearer to what is no chest."""
    seen = seen_of(["frontal"] * 2002, ["near"] * 1001 + ["far"] * 1001, seed=1)
    seen.features[:1001, 7] += 2
    return seen


#: What is so likely a frontal view that the frontal pictures alone set the threshold.
NEAR = {"photograph": np.full(10, 1e6)}


@pytest.fixture(scope="module")
def gate(train, validation):
    return fit_gate(train, validation, seed=3, strange=NEAR)


class TestFitGate:
    def test_views_that_lie_apart_are_told_apart(self, gate):
        fresh = seen_of(list(VIEWS) * 50, seed=2)
        called = np.array(VIEWS)[gate.logits(fresh.features).argmax(axis=1)]
        assert np.mean(called == fresh.views) > 0.97

    def test_children_are_told_from_adults_and_others_are_not_learnt_from(self, gate, train):
        known = train.child >= 0
        called = gate.child_log_odds(train.features[known]) > 0
        assert np.mean(called == train.child[known]) > 0.97

    def test_six_in_a_thousand_of_the_worst_source_are_refused(self, gate, validation):
        odds = gate.frontal_log_odds(validation.features)
        refused = {
            source: int(np.sum(odds[validation.sources == source] < gate.refuse_below)) for source in ("near", "far")
        }
        assert refused["near"] == 6  # the 0.006 quantile of 1001 is the seventh from below, which stays
        assert refused["far"] <= 4

    @pytest.mark.usefixtures("_at_once")
    def test_refused_halfway_between_frontal_and_strange_pictures(self, train, validation):
        odds = {"slice": np.linspace(-13, -11, 101), "photograph": np.linspace(-19, -17, 101)}  # 98 %: -11.04, -17.04
        tail = fit_gate(train, validation, seed=3, strange=NEAR).refuse_below
        made = fit_gate(train, validation, seed=3, strange=odds)
        assert made.refuse_below == pytest.approx((tail - 11.04) / 2)

    @pytest.mark.usefixtures("_at_once")
    def test_what_was_made_of_validation_pictures_counts_as_strange(self, train, validation):
        turned = replace(validation, views=np.full(2002, "inverted"), sources=np.full(2002, "near"))
        far, tail = ({"slice": np.full(5, odds)} for odds in (-1e6, 1e6))
        made = fit_gate(train, validation + turned, seed=3, strange=far)
        top = np.quantile(made.frontal_log_odds(validation.features), 0.98)
        alone = fit_gate(train, validation, seed=3, strange=tail)
        assert top > alone.refuse_below  # the same pictures under another name: the tails overlap
        assert made.refuse_below == alone.refuse_below
        assert made.warn_below == alone.warn_below

    def test_one_in_fifty_of_all_is_at_most_warned_of(self, gate, validation):
        odds = gate.frontal_log_odds(validation.features)
        assert np.sum(odds < gate.warn_below) == pytest.approx(0.02 * 2002, abs=1)
        assert gate.warn_below >= gate.refuse_below

    @pytest.mark.usefixtures("_at_once")
    def test_warning_never_starts_below_refusing(self, train):
        same = seen_of(["frontal"] * 20, seed=4)
        alike = replace(same, features=np.repeat(same.features[:1], 20, axis=0))
        made = fit_gate(train, alike, seed=3, strange=NEAR)
        assert made.warn_below == made.refuse_below == pytest.approx(float(made.frontal_log_odds(same.features[0])))

    def test_a_seed_gives_one_gate(self, gate, train, validation):
        again = fit_gate(train, validation, seed=3, strange=NEAR)
        np.testing.assert_array_equal(again.kernel, gate.kernel)
        assert again.refuse_below == gate.refuse_below

    @pytest.mark.usefixtures("_at_once")
    def test_a_feature_that_never_moves_gives_numbers(self, train, validation):
        stuck = [replace(seen, features=seen.features.copy()) for seen in (train, validation)]
        for seen in stuck:
            seen.features[:, 2] = 5
        made = fit_gate(*stuck, seed=3, strange=NEAR)
        assert np.isfinite(made.kernel).all()
        assert np.isfinite([made.refuse_below, made.warn_below, made.child_bias]).all()

    def test_inputs_are_left_as_they_were(self, gate, train, validation):
        assert gate
        fresh = seen_of(["frontal"] * 2002, seed=1)
        np.testing.assert_array_equal(validation.features[1001:], fresh.features[1001:])
        assert (train.views[:8] == np.array(VIEWS)).all()

    def test_saved_it_comes_back_to_the_same_answers(self, gate, validation, tmp_path):
        entry = save_gate(gate, tmp_path)
        loaded = load_gate(tmp_path, entry)
        few = validation.features[:50]
        np.testing.assert_allclose(loaded.frontal_log_odds(few), gate.frontal_log_odds(few), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(loaded.child_log_odds(few), gate.child_log_odds(few), rtol=1e-5, atol=1e-5)
        assert (loaded.refuse_below, loaded.warn_below) == (gate.refuse_below, gate.warn_below)


class TestSeen:
    ONE = Seen(np.array([[1.0], [2]]), np.array(["frontal", "slice"]), np.array(["a", "b"]), np.array([1, -1]))

    def test_a_selection_keeps_what_belongs_together(self):
        kept = self.ONE.only(np.array([False, True]))
        assert (kept.features.tolist(), kept.views.tolist(), kept.sources.tolist()) == ([[2]], ["slice"], ["b"])
        assert kept.child.tolist() == [-1]

    def test_two_are_joined_one_after_the_other(self):
        both = self.ONE + self.ONE.only(np.array([True, False]))
        assert both.features.ravel().tolist() == [1, 2, 1]
        assert both.views.tolist() == ["frontal", "slice", "frontal"]
        assert both.sources.tolist() == ["a", "b", "a"]
        assert both.child.tolist() == [1, -1, 1]


class TestRates:
    @pytest.fixture
    def by_first(self, gate):
        """A gate whose log-odds of a frontal view rise with the first feature alone."""
        kernel = np.zeros((8, 8))
        kernel[0, 0] = 1
        return replace(
            gate, mean=np.zeros(8), scale=np.ones(8), kernel=kernel, bias=np.zeros(8), refuse_below=-2.0, warn_below=0.0
        )

    def test_refused_and_warned_by_hand(self, by_first):
        # Log-odds are the feature less log 7 = 1.95: -3.95 and -2.95 refused, -0.95 warned of, 1.05 and 2.05 passed.
        seen = seen_of(["frontal"] * 5)
        seen.features[:, 0] = [-2, -1, 1, 3, 4]
        rates = refusal_rates(by_first, seen, by=np.array(["a", "b", "a", "a", "b"]))
        assert rates["a"] == {"n": 3, "refused": pytest.approx(1 / 3), "refused_or_warned": pytest.approx(2 / 3)}
        assert rates["b"] == {"n": 2, "refused": 0.5, "refused_or_warned": 0.5}

    def test_a_source_is_measured_by_a_gate_that_saw_no_frontal_picture_of_it(self, by_first, monkeypatch):
        given = []
        monkeypatch.setattr(
            module,
            "fit_gate",
            lambda train, val, *, seed, strange: given.append((train, val, seed, strange)) or by_first,
        )
        train = seen_of(["frontal"] * 4 + ["slice"] * 2, ["a", "a", "b", "c", "s", "s"])
        validation = seen_of(["frontal"] * 5 + ["inverted"], ["a", "a", "b", "c", "c", "c"], seed=1)
        rates = left_out_rates(train, validation, seed=9, strange=NEAR)
        assert {source: rate["n"] for source, rate in rates.items()} == {"a": 2, "b": 1, "c": 2}
        for source, (seen, held, seed, strange) in zip("abc", given, strict=True):
            assert strange is NEAR
            assert source not in seen.sources[seen.views == "frontal"]
            assert source not in held.sources  # nor do the thresholds know it
            assert len(seen.views) == 6 - np.sum(train.sources == source)
            assert np.sum(seen.views == "slice") == 2
            assert seed == 9

    def test_versions_of_one_picture_are_never_on_both_sides(self, by_first, monkeypatch):
        given = []
        monkeypatch.setattr(module, "_fitted", lambda train, **_: given.append(train) or by_first)
        strange = seen_of(["slice"] * 6 + ["side_view"] * 6, np.repeat(["p", "q", "r", "s"], 3))
        strange.features[:, 0] = [-9, 9, 9, 9, -9, -9, 1, 9, 9, 9, 9, 9]  # the first of each three is as it came
        odds = crossed_odds(seen_of(["frontal"] * 2), strange, seed=0)
        np.testing.assert_allclose(odds, by_first.frontal_log_odds(strange.features))
        left = [set("pqrs") - set(train.sources) for train in given]
        assert sorted("".join(sorted(names)) for names in left) == ["p", "q", "r", "s"]
        rates = crossed_rates(by_first, strange, odds, by=strange.views)
        assert rates["slice"] == {"n": 2, "refused": 0.5, "refused_or_warned": 0.5}
        assert rates["side_view"] == {"n": 2, "refused": 0.0, "refused_or_warned": 0.5}

    def test_what_is_held_out_is_measured_by_kind_and_without_a_folder_what_is_made_up(self, by_first, images):
        gate = replace(by_first, mean=np.zeros(70), scale=np.ones(70), kernel=np.zeros((70, 8)))
        assert held_out_rates(gate, images, Double(), seed=0)["photograph"]["n"] == 3 * module._CUTS
        alone = held_out_rates(gate, None, Double(), seed=0)
        assert alone.keys() == module._MAKERS.keys()
        assert sum(rates["n"] for rates in alone.values()) == module._MADE_UP

    def test_what_was_made_up_is_told_from_photographs(self):
        assert kinds_of(seen_of(["other"] * 3, ["noise", "cat.png", "page"])).tolist() == [
            "noise",
            "photograph",
            "page",
        ]


class Double:
    """Stands in for the classifier: its features are the picture's mean and its first pixel."""

    def __init__(self):
        self.shapes = []

    def prepare(self, pixels):
        assert pixels.dtype == np.float32
        assert pixels.flags.c_contiguous
        self.shapes.append(pixels.shape)
        rows, columns = pixels.shape
        self.picture = pixels
        return NetworkInput(
            pixels[..., None], Geometry(rows, columns, 0, 0, rows, columns, 16), np.zeros((16, 16), bool)
        )

    def __call__(self, _):
        corner = np.array([self.picture.mean(), self.picture[0, 0]], np.float32)
        return NetworkOutput({}, corner[None, None], corner[:1], corner[1:])


@pytest.fixture
def images(tmp_path):
    """Three pictures with a bright upper left corner."""
    for number, name in enumerate("abc"):
        pixels = np.full((80, 100), 50 + number, np.uint8)
        pixels[:10, :10] = 250
        (tmp_path / f"{name}.png").write_bytes(encode(pixels))
    return tmp_path


EXAMPLES = (
    Example("a.png", "normal", "one", age_group="paediatric"),
    Example("b.png", "covid19", "two", age_group="adult"),
    Example("c.png", "normal", "one"),
)


class TestWhatIsSeen:
    def test_frontal_pictures_have_their_source_and_age(self, images):
        seen = frontal_seen(EXAMPLES, images, Double(), seed=0, changed=False)
        assert set(seen.views) == {"frontal"}
        assert seen.sources.tolist() == ["one", "two", "one"]
        assert seen.child.tolist() == [1, 0, -1]
        np.testing.assert_allclose(seen.features[:, 1], 250 / 255, rtol=1e-6)

    def test_every_second_one_is_augmented_and_only_on_request(self, images):
        plain, changed = (frontal_seen(EXAMPLES, images, Double(), seed=0, changed=c).features for c in (False, True))
        np.testing.assert_array_equal(plain[[0, 2]], changed[[0, 2]])
        assert not np.array_equal(plain[1], changed[1])

    def test_each_picture_is_turned_three_ways_and_inverted(self, images):
        double = Double()
        seen = turned_seen(EXAMPLES[:1], images, double)
        assert sorted(seen.views) == sorted(CORRECTIONS)
        assert double.shapes.count((100, 80)) == 2
        assert seen.sources.tolist() == ["one"] * 4
        assert set(seen.child) == {-1}
        means = dict(zip(seen.views, seen.features[:, 0], strict=True))
        assert means["inverted"] == pytest.approx(1 - means["upside_down"], abs=1e-6)

    @pytest.mark.parametrize("view", CORRECTIONS)
    def test_what_the_gate_suggests_undoes_what_was_done(self, images, view):
        picture = read_image(images / "a.png")
        wrong = np.ascontiguousarray(module._CHANGES[view](picture))
        assert wrong.shape != picture.shape or not np.array_equal(wrong, picture)
        right = correct(Radiograph(wrong, "PNG", "", ""), CORRECTIONS[view]).pixels
        np.testing.assert_allclose(right, picture, atol=1e-6)

    def test_copies_of_a_strange_picture_keep_its_name_and_begin_with_itself(self, images):
        (images / "table.csv").write_text("image,kind\na.png,lateral\nb.png,ct_slice\nc.png,limb\n")
        seen = not_frontal_seen(images / "table.csv", Double(), seed=0, copies=3)
        assert seen.views.tolist() == ["side_view"] * 3 + ["slice"] * 3 + ["other"] * 3
        assert seen.sources.tolist() == ["a.png"] * 3 + ["b.png"] * 3 + ["c.png"] * 3
        as_it_is = np.array([read_image(images / f"{name}.png").mean() for name in "abc"])
        np.testing.assert_allclose(seen.features[::3, 0], as_it_is, rtol=1e-6)
        assert len({row.tobytes() for row in seen.features[:3]}) == 3

    @pytest.mark.parametrize(
        "text", ["image,kind\na.png,knee\n", "image\na.png\n", None], ids=["unknown kind", "no kind", "no table"]
    )
    def test_a_table_that_cannot_be_used_is_named(self, images, text):
        if text:
            (images / "table.csv").write_text(text)
        with pytest.raises(ManifestError, match=r"table\.csv"):
            not_frontal_seen(images / "table.csv", Double(), seed=0)

    def test_a_picture_that_is_not_there_is_named(self, images):
        (images / "table.csv").write_text("image,kind\nnone.png,limb\n")
        with pytest.raises(ManifestError, match=r"none\.png"):
            not_frontal_seen(images / "table.csv", Double(), seed=0)

    def test_photographs_are_cut_and_pictures_made_up(self, images):
        (images / "below").mkdir()
        (images / "below" / "d.JPG").write_bytes((images / "a.png").read_bytes())
        (images / "notes.txt").write_text("no picture")
        double = Double()
        seen = others_seen(images, double, seed=0, cuts=3, made_up=8)
        assert set(seen.views) == {"other"}
        assert len(seen.sources) == 4 * 3 + 8
        assert sorted(set(seen.sources)) == sorted(["a.png", "b.png", "c.png", "d.JPG", *module._MAKERS])
        assert double.shapes[0:12:3] == [(80, 100)] * 4  # the first of each is the whole picture
        assert len(set(double.shapes[:12])) > 4
        assert all(min(shape) >= 64 for shape in double.shapes)

    def test_one_seed_gives_the_same_features(self, images):
        one, two, other = (others_seen(images, Double(), seed=s, cuts=2, made_up=4).features for s in (0, 0, 1))
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, other)

    @pytest.mark.parametrize("maker", module._MAKERS.values(), ids=module._MAKERS)
    def test_what_is_made_up_is_a_picture(self, maker):
        for seed in range(15):
            picture = maker(np.random.default_rng(seed))
            assert picture.dtype == np.float32
            assert min(picture.shape) >= 64
            assert 0 <= picture.min() <= picture.max() <= 1


class TestSpread:
    MANY = (
        *[Example(f"a{i}", "normal", "one") for i in range(5)],
        *[Example(f"b{i}", "normal", "two") for i in range(2)],
        *[Example(f"c{i}", "covid19", "one") for i in range(4)],
    )

    def test_at_most_so_many_of_each_source_and_label(self):
        chosen = spread(self.MANY, 3, seed=0)
        counts = {key: sum(e.image.startswith(key) for e in chosen) for key in "abc"}
        assert counts == {"a": 3, "b": 2, "c": 3}
        assert len({e.image for e in chosen}) == 8

    def test_the_seed_chooses(self):
        one, two, other = ([e.image for e in spread(self.MANY, 2, seed=s)] for s in (0, 0, 1))
        assert one == two
        assert one != other
