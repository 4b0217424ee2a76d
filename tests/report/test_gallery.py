"""The page over an explained run: nothing from a file is markup, nothing comes from elsewhere, large runs link."""

import base64
import hashlib
import json
import re
from urllib.parse import unquote

import pytest

from detector.answers.answer import Question
from detector.report import gallery
from detector.run.predict import predict_files
from detector.run.results import Request, Results
from tests.conftest import COMPOSITES

EXPLAINED = Request(Question("three-class"), explain=True)
HOSTILE = "</script><script>alert(1)<!--.png"


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture
def explained(tmp_path, engine):
    """Explain files into a folder; gives the folder and the page's text."""

    def explained(files, *, embedded=gallery.EMBEDDED, request=EXPLAINED):
        out = tmp_path / "out"
        with pytest.MonkeyPatch.context() as patch, Results(out, request, engine.card.sha256, resume=True) as to:
            patch.setattr(gallery, "EMBEDDED", embedded)
            list(predict_files(files, engine, request, results=to))
            page = gallery.gallery_page(out, to.answers(), engine.card)
        return out, page

    return explained


@pytest.fixture
def files(tmp_path):
    """A hostile name, a direction mark, a refused file, and two good ones."""
    folder = tmp_path / "images"
    (folder / "<").mkdir(parents=True)
    names = [HOSTILE, "a\u202egnp.png", "normal.png"]
    for name in names:
        (folder / name).write_bytes((COMPOSITES / "normal.png").read_bytes())
    (folder / "empty.png").write_bytes(b"")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_names_are_text_and_never_markup(explained, files):
    page = explained(files)[1]
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert "<" not in data
    names = {item["name"] for item in data_of(page)["items"]}
    assert "script><script>alert(1)<!--.png" in names
    assert "a\\u202egnp.png" in names
    assert "innerHTML" not in page


def test_policy_names_the_page_s_own_script_and_style_and_nothing_else(explained, files):
    page = explained(files)[1]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    for kind in ("script", "style"):
        content = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"https?://", page)


def test_small_run_brings_its_pictures_along(explained, files):
    page = explained(files)[1]
    answered = [item for item in data_of(page)["items"] if item["status"] == "ok"]
    assert len(answered) == 3
    for item in answered:
        for picture in ("thumbnail", "xray", "overlay"):
            assert base64.b64decode(item[picture].removeprefix("data:image/jpeg;base64,")).startswith(b"\xff\xd8")
    assert len(page) < 10**6


def test_large_run_links_to_pictures_in_its_folder(explained, files):
    out, page = explained(files, embedded=2)
    answered = [item for item in data_of(page)["items"] if item["status"] == "ok"]
    for item in answered:
        assert item["thumbnail"].startswith("data:image/jpeg;base64,")
        assert (out / unquote(item["xray"])).exists()
        assert (out / unquote(item["overlay"])).exists()
        assert "/" not in item["xray"]


def test_refused_file_is_listed_with_its_reason(explained, files):
    (refused,) = (item for item in data_of(explained(files)[1])["items"] if item["status"] != "ok")
    assert refused["name"] == "empty.png"
    assert refused["code"] == "empty_file"
    assert refused["title"].startswith("The file is empty.")


def test_picture_that_was_deleted_is_left_out_and_the_rest_stays(explained, files):
    out, _ = explained(files)
    (out / "normal.xray.jpg").unlink()
    page = explained(files)[1]
    by_name = {item["name"]: item for item in data_of(page)["items"]}
    assert by_name["normal.png"]["xray"] is None
    assert by_name["normal.png"]["title"]
    assert by_name["a\\u202egnp.png"]["xray"]


def test_only_answers_to_this_question_are_shown_each_path_once(explained, files):
    explained(files, request=Request(Question("binary"), explain=True))
    page = explained(files)[1]
    assert len(data_of(page)["items"]) == len(files)
    assert data_of(page)["about"]["question"] == "Normal / Bacterial pneumonia / COVID-19"


def test_changed_file_is_shown_with_its_latest_answer(explained, files):
    explained(files)
    target = next(path for path in files if path.name == "normal.png")
    target.write_bytes((COMPOSITES / "covid19.png").read_bytes())
    items = data_of(explained(files)[1])["items"]
    (shown,) = (item for item in items if item["name"] == "normal.png")
    facts = dict(map(tuple, shown["facts"]))
    assert facts["SHA-256"] == hashlib.sha256(target.read_bytes()).hexdigest()


def test_run_without_a_single_answer_still_has_its_page(explained, tmp_path):
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    page = explained([empty])[1]
    assert [item["status"] for item in data_of(page)["items"]] == ["rejected"]
