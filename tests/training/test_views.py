"""What the network is shown: lungs found once and kept, and moved along with whatever happens to their picture."""

import cv2
import numpy as np
import pytest

from detector.errors import ManifestError
from detector.model.preprocess import Box, frame_picture, lung_crop, lung_input, lungs_on_frame
from detector.training.data import augmentation, views
from detector.training.data.manifest import Example, read_image
from detector.training.data.views import LungMasks, change_picture, find_lung_masks, loose_box, plain_view, read_working
from detector.training.fit.lungs import dice
from tests.conftest import COMPOSITES, encode

SEEDS = range(12)


@pytest.fixture
def images(tmp_path):
    """Thirty-five pictures of noise, each of its own size: more than one segmentation takes, and no multiple of it."""
    for number in range(35):
        pixels = np.random.default_rng(number).integers(0, 256, (64 + number, 70), np.uint8)
        (tmp_path / f"{number:02d}.png").write_bytes(encode(pixels))
    return tmp_path


@pytest.fixture
def examples(images):
    return [Example(path.name, "normal") for path in sorted(images.iterdir())]


class Bright:
    """Takes what is bright for lung, and remembers the shapes that it was given."""

    def __init__(self):
        self.shapes = []

    def __call__(self, inputs):
        self.shapes.append(inputs.shape)
        return inputs[..., 0] > 0.2


@pytest.fixture
def lung():
    """A picture of 224 x 224 and its lung, that no mirror image or turn leaves where it is; dim noise about it."""
    mask = np.zeros((224, 224), bool)
    mask[50:150, 50:110] = True
    mask[150:180, 50:80] = True
    noise = np.random.default_rng(0).random(mask.shape, np.float32)
    return 0.7 * mask.astype(np.float32) + 0.3 * noise, mask


class TestLungMasks:
    def test_packed_bits_come_back(self):
        lungs = np.random.default_rng(0).random((224, 224)) < 0.5
        masks = LungMasks({"a.png": np.packbits(lungs)})
        assert masks["a.png"].dtype == bool
        np.testing.assert_array_equal(masks["a.png"], lungs)

    def test_eight_pixels_are_a_byte(self, images, examples):
        masks = find_lung_masks(examples[:1], images, Bright())
        assert masks.packed["00.png"].nbytes == 224 * 224 / 8


class TestFindLungMasks:
    def test_each_picture_has_the_lungs_that_the_app_finds_on_it(self, images, examples):
        masks = find_lung_masks(examples, images, Bright())
        for example in (examples[0], examples[31], examples[32], examples[34]):  # both ends of both segmentations
            frame = frame_picture(read_image(images / example.image))
            field = lung_input(frame).pixels[..., 0] > 0.2
            np.testing.assert_array_equal(masks[example.image], lungs_on_frame(field, frame.content))
            assert field.any()

    def test_every_segmentation_has_one_shape(self, images, examples):
        segment = Bright()
        find_lung_masks(examples, images, segment)
        assert segment.shapes == [(32, 160, 160, 1)] * 2

    def test_a_picture_of_several_rows_is_looked_at_once(self, images, examples):
        masks = find_lung_masks([examples[3], examples[1], examples[3]], images, Bright())
        assert sorted(masks.packed) == ["01.png", "03.png"]

    def test_a_missing_picture_is_named(self, images):
        with pytest.raises(ManifestError, match=r"none\.png"):
            find_lung_masks([Example("none.png", "normal")], images, Bright())


class TestCache:
    def test_what_is_kept_is_not_looked_for_again(self, images, examples, tmp_path):
        first, again = Bright(), Bright()
        cache = tmp_path / "masks.npz"
        found = find_lung_masks(examples[:3], images, first, cache=cache)
        kept = find_lung_masks(examples[:3], images, again, cache=cache)
        assert (len(first.shapes), len(again.shapes)) == (1, 0)
        for example in examples[:3]:
            np.testing.assert_array_equal(found[example.image], kept[example.image])

    def test_the_order_of_the_rows_makes_no_other_pictures(self, images, examples, tmp_path):
        again = Bright()
        found = find_lung_masks(examples[:3], images, Bright(), cache=tmp_path / "masks.npz")
        kept = find_lung_masks(examples[2::-1], images, again, cache=tmp_path / "masks.npz")
        assert not again.shapes
        np.testing.assert_array_equal(found["02.png"], kept["02.png"])

    @pytest.mark.parametrize("others", [slice(1, 4), slice(4), slice(2)], ids=["as many", "more", "fewer"])
    def test_masks_of_other_pictures_are_made_anew(self, images, examples, tmp_path, others):
        cache, second, third = tmp_path / "masks.npz", Bright(), Bright()
        find_lung_masks(examples[:3], images, Bright(), cache=cache)
        masks = find_lung_masks(examples[others], images, second, cache=cache)
        assert sorted(masks.packed) == [example.image for example in examples[others]]
        assert len(second.shapes) == 1
        find_lung_masks(examples[others], images, third, cache=cache)
        assert not third.shapes  # and kept in the place of the old ones

    def test_without_a_cache_nothing_is_written(self, images, examples):
        before = sorted(images.iterdir())
        find_lung_masks(examples[:2], images, Bright())
        assert sorted(images.iterdir()) == before


class TestPlainView:
    @pytest.mark.parametrize("name", ["covid19", "normal", "bacterial_pneumonia"])  # the last has flat borders
    def test_training_and_app_give_the_network_the_same_pixels(self, tmp_path, name):
        whole = cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        small = cv2.resize(whole, (224, 224), interpolation=cv2.INTER_AREA)  # the size that the collections have
        (tmp_path / "a.png").write_bytes(encode(small))
        frame = frame_picture(small)
        field = lung_input(frame).pixels[..., 0] < -0.2
        served = lung_crop(frame, field)
        view = plain_view(read_working(tmp_path / "a.png"), lungs_on_frame(field, frame.content))
        np.testing.assert_array_equal(view.pixels, served.pixels)
        np.testing.assert_array_equal(view.lung_field, served.lung_field)

    def test_uncut_it_is_the_whole_content(self, lung):
        picture, mask = lung
        framed = picture.copy()
        framed[:, :30] = 0
        geometry = plain_view(framed, mask, cut=False).geometry
        assert (geometry.top, geometry.left, geometry.height, geometry.width) == (0, 30, 224, 194)

    @pytest.mark.parametrize("cut", [True, False], ids=["cut", "whole"])
    def test_size_is_what_is_asked_for(self, lung, cut):
        view = plain_view(*lung, size=96, cut=cut)
        assert view.pixels.shape == (96, 96, 1)
        assert view.lung_field.shape == (96, 96)

    def test_reading_brings_a_picture_to_the_working_grid(self, images):
        pixels = read_image(images / "07.png")
        working = read_working(images / "07.png")
        assert working.shape == (224, 224)
        assert working.mean() == pytest.approx(pixels.mean(), abs=0.02)

    def test_a_picture_of_the_collections_size_is_read_as_it_is(self, tmp_path):
        pixels = np.random.default_rng(1).integers(0, 256, (224, 224), np.uint8)
        (tmp_path / "a.png").write_bytes(encode(pixels))
        np.testing.assert_array_equal(read_working(tmp_path / "a.png"), read_image(tmp_path / "a.png"))


class TestChangePicture:
    def test_one_state_gives_one_view_and_leaves_its_inputs(self, lung):
        before = [part.copy() for part in lung]
        for seed in SEEDS:
            one, two = (change_picture(*lung, np.random.default_rng(seed), style=0.5) for _ in range(2))
            np.testing.assert_array_equal(one.pixels, two.pixels)
            np.testing.assert_array_equal(one.lung_field, two.lung_field)
            assert one.geometry == two.geometry
        for part, old in zip(lung, before, strict=True):
            np.testing.assert_array_equal(part, old)

    def test_one_state_gives_another_view_each_time(self, lung):
        rng = np.random.default_rng(0)
        assert len({change_picture(*lung, rng).pixels.tobytes() for _ in range(5)}) == 5

    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_lungs_move_with_their_picture(self, lung, seed, monkeypatch):
        monkeypatch.setattr(augmentation, "_CHANGES", ())  # what does not move the picture would hide the lung's edge
        view = change_picture(*lung, np.random.default_rng(seed))
        area = int(view.lung_field.sum())
        found = np.zeros(view.pixels.size, bool)
        found[np.argsort(view.pixels, axis=None)[-area:]] = True  # as many of the brightest pixels as the mask has
        assert area > 0.1 * view.pixels.size
        assert dice(view.lung_field.ravel(), found) > 0.95

    def test_whatever_happens_it_has_the_networks_form(self, composite_pixels):
        picture = frame_picture(composite_pixels.astype(np.float32) / 255).working
        rows, columns = np.mgrid[:224, :224]
        mask = ((rows - 100) / 70) ** 2 + ((columns - 112) / 85) ** 2 < 1
        for seed in range(30):
            view = change_picture(picture, mask, np.random.default_rng(seed), style=0.5)
            assert view.pixels.shape == (160, 160, 1)
            assert view.pixels.dtype == np.float32
            assert np.abs(view.pixels).max() <= 1
            assert view.lung_field.shape == (160, 160)
            assert view.lung_field.any()

    @pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
    def test_a_flat_picture_without_lungs_gives_numbers(self, grey):
        flat, nothing = np.full((224, 224), grey, np.float32), np.zeros((224, 224), bool)
        for seed in SEEDS:
            view = change_picture(flat, nothing, np.random.default_rng(seed), style=0.5)
            assert np.isfinite(view.pixels).all()
            assert not view.lung_field.any()

    @pytest.mark.parametrize(("style", "times"), [(0.0, 0), (1.0, 12)], ids=["never", "always"])
    def test_style_is_the_chance_of_a_random_convolution(self, lung, style, times, monkeypatch):
        convolved = []
        monkeypatch.setattr(views, "convolve_at_random", lambda image, _: convolved.append(1) or image)
        for seed in SEEDS:
            change_picture(*lung, np.random.default_rng(seed), style=style)
        assert len(convolved) == times

    @pytest.mark.parametrize(
        ("cut", "whole"), [(False, 0.05), (True, 1.0)], ids=["by configuration", "as where no lungs are found"]
    )
    def test_the_whole_picture_is_shown(self, lung, cut, whole, monkeypatch):
        monkeypatch.setattr(augmentation, "_CHANGES", ())
        monkeypatch.setattr(augmentation, "move", lambda image, _: image)
        monkeypatch.setattr(views, "_WHOLE", whole)
        for seed in SEEDS:
            geometry = change_picture(*lung, np.random.default_rng(seed), cut=cut).geometry
            assert (geometry.top, geometry.left, geometry.height, geometry.width) == (0, 0, 224, 224)

    def test_about_one_crop_in_twenty_is_the_whole_picture(self, lung, monkeypatch):
        for name in ("augment", "move"):
            monkeypatch.setattr(views, name, lambda image, _: image)
        cut = [change_picture(*lung, np.random.default_rng(seed)).geometry for seed in range(300)]
        whole = sum((g.height, g.width) == (224, 224) for g in cut)
        assert 3 <= whole <= 30  # 15, give or take four standard deviations

    def test_size_is_what_is_asked_for(self, lung):
        view = change_picture(*lung, np.random.default_rng(0), size=96)
        assert view.pixels.shape == (96, 96, 1)
        assert view.lung_field.shape == (96, 96)


class TestLooseBox:
    BOXES = (Box(0, 0, 224, 224), Box(0, 0, 112, 134), Box(112, 90, 112, 134), Box(60, 50, 100, 120), Box(223, 0, 1, 1))

    @pytest.mark.parametrize("box", BOXES, ids=str)
    def test_it_stays_in_the_grid_and_near_the_box(self, box):
        for seed in range(100):
            loose = loose_box(box, np.random.default_rng(seed))
            assert 0 <= loose.top < loose.top + loose.height <= 224
            assert 0 <= loose.left < loose.left + loose.width <= 224
            down, across = 0.08 * box.height + 0.5, 0.08 * box.width + 0.5
            assert abs(loose.top - box.top) <= down
            assert abs(loose.top + loose.height - box.top - box.height) <= down
            assert abs(loose.left - box.left) <= across
            assert abs(loose.left + loose.width - box.left - box.width) <= across

    def test_each_edge_moves_by_itself_both_ways(self):
        box = Box(60, 50, 100, 120)
        loose = [loose_box(box, np.random.default_rng(seed)) for seed in range(200)]
        moves = np.array(
            [
                [b.top - 60, b.left - 50, b.top + b.height - 160, b.left + b.width - 170]
                for b in loose
            ]
        )  # fmt: skip
        assert (moves.min(axis=0) < 0).all()
        assert (moves.max(axis=0) > 0).all()
        assert np.abs(np.corrcoef(moves.T) - np.eye(4)).max() < 0.3

    def test_one_state_gives_one_box(self):
        one, two = (loose_box(self.BOXES[3], np.random.default_rng(5)) for _ in range(2))
        assert one == two
