"""The summary of the collections, on made-up ones: batches of theirs pass, a stranger's don't."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from detector.answers.likeness import SUMMARY, load_collections
from detector.training.audit import collections as module
from detector.training.audit.collections import check, group_of, signs_of, summarise, with_limits
from detector.training.audit.observed import Observed, observe
from detector.training.data.manifest import Example

SIGNS = {
    "ap": (5, 100), "children": (0, 100), "equalised": (0, 100), "longer_side": (200, 1000, 3000),
    "grey": (0.3, 0.5, 0.7), "spread": (0.5, 0.7, 0.9),
}  # fmt: skip
KINDS = (("a", "normal"), ("a", "covid19"), ("b", "normal"), ("c", "normal"))


def observed_of(rng, *, n=150, channels=40, first=0):
    """Three collections that lie apart in their first channels; one has two kinds of findings."""
    places = np.random.default_rng(1).normal(size=(len(KINDS), channels)) * 3
    examples = [
        Example(f"{source}{label}{first + i}.png", label, source, patient_group=f"{source}{label}{first + i}")
        for source, label in KINDS
        for i in range(n)
    ]
    features = np.repeat(places, n, axis=0) + rng.normal(size=(len(examples), channels))
    count = len(examples)
    signs = {name: np.full(count, 0.5, np.float32) for name in ("longer_side", "grey", "spread", "unevenness")}
    logits = {"binary": np.zeros((count, 1)), "three_class": np.zeros((count, 3))}
    return Observed(tuple(examples), logits, features.astype(np.float32), signs)


def summary_of(train, *, weights="0" * 64, limit=3.0):
    collections = summarise(train, SIGNS, weights)
    return replace(collections, limits=np.full(len(collections.sizes), limit))


@pytest.fixture(scope="module")
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DRAWS", 60)
        patch.setattr(module, "SIZES", (20, 50))
        yield


@pytest.fixture(scope="module")
def splits(few_draws):  # noqa: ARG001 - few while they are made
    rng = np.random.default_rng(4)
    return [observed_of(rng, first=1000 * part) for part in range(3)]


@pytest.fixture(scope="module")
def collections(splits):
    train, val, _ = splits
    return with_limits(summarise(train, SIGNS, "0" * 64), val)


def test_groups_are_collection_and_kind(collections):
    assert sorted(collections.groups) == ["a", "a", "b", "c"]
    assert group_of(Example("x", "viral_pneumonia", "b")) == "b, pneumonia"


def test_limits_are_near_what_chance_gives(collections):
    assert collections.limits.shape == (2,)
    assert (collections.limits > 1).all()
    assert (collections.limits < 3).all()


def test_false_alarms_are_few_and_strangers_are_found(collections, splits):
    train, val, test = splits
    found = check(collections, train=train, val=val, test=test)
    for by_origin in found["false_alarms"].values():
        assert by_origin["all"]["value"] <= 0.1  # asked 0.05; sixty draws an origin
        assert set(by_origin) == {"a", "b", "c", "a mix of all", "all"}
    assert set(found["left_out"]) == {"a", "b", "c"}
    for by_size in found["left_out"].values():
        assert by_size["50"]["all"]["value"] > 0.95


def test_summary_has_what_the_app_checks(collections, tmp_path):
    (tmp_path / SUMMARY).write_bytes(replace(collections, checked={"x": 1}).to_bytes())
    assert load_collections(tmp_path, "0" * 64).checked == {"x": 1}


def test_signs_come_from_the_manifest_and_the_pictures(tmp_path):
    train = observed_of(np.random.default_rng(0), n=1)
    rows = [
        {"image": e.image, "view": v, "age_group": g, "original_height": h, "original_width": 100}
        for e, v, g, h in zip(
            train.examples, ("AP Supine", "PA", "", "AP"), ("adult", "paediatric", "", "adult"), (50, 200, 300, 400),
            strict=True,
        )
    ]  # fmt: skip
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    found = signs_of(train, tmp_path / "manifest.csv")
    assert found["ap"] == (2, 3)
    assert found["children"] == (1, 3)
    assert found["equalised"] == (0, 4)
    assert found["longer_side"][1] == 250


class TestObserve:
    @pytest.fixture
    def folder(self, tmp_path, composite):
        (tmp_path / "a.png").write_bytes(composite)
        (tmp_path / "b.png").write_bytes(b"text")
        return tmp_path

    def test_file_keeps_what_was_seen_and_what_was_rejected(self, folder, engine):
        examples = [Example("a.png", "covid19", patient_group="1"), Example("b.png", "normal", patient_group="2")]
        first = observe(examples, folder, engine, folder / "seen.npz")
        passes = engine.forward_passes
        again = observe(examples, folder, engine, folder / "seen.npz")
        assert engine.forward_passes == passes
        assert [e.image for e in again.examples] == ["a.png"]
        np.testing.assert_array_equal(again.features, first.features)
        np.testing.assert_allclose(again.answers.logits["binary"], first.logits["binary"])

    def test_damaged_file_is_begun_anew(self, folder, engine):
        (folder / "seen.npz").write_bytes(b"PK")
        assert len(observe([Example("a.png", "covid19")], folder, engine, folder / "seen.npz").examples) == 1
