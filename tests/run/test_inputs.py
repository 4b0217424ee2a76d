"""What a run is given: stores by their address, manifests, and what they do when they fail."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pytest
from pyarrow import parquet

from detector.answers.answer import Question
from detector.cli.main import main
from detector.errors import ManifestError, StoreError, UnreadablePathError
from detector.model.engine import Engine
from detector.run import inputs
from detector.run.inputs import find_inputs, read_input
from detector.run.predict import predict_files
from detector.run.results import Request, Results
from detector.run.table import write_table

REQUEST = Request(Question("binary"), explain=False)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """Serves a folder; returns the folder and its address."""
    folder = tmp_path / "served"
    (folder / "below").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def stored(composite):
    """Two X-rays in a store of this process's memory, one of them below; the address of the folder."""
    store = fsspec.filesystem("memory")
    for name in ("/xrays/b.png", "/xrays/below/a.png"):
        store.pipe_file(name, composite)
    yield "memory://xrays"
    store.rm("/xrays", recursive=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(inputs, "_PAUSES", (0.0, 0.0))


def without_time(row):
    return {key: value for key, value in row.items() if key not in {"analysed_at", "path"}}


def test_rows_of_a_store_are_those_of_the_files(stored, engine, composite, tmp_path):
    (tmp_path / "a.png").write_bytes(composite)
    rows = list(predict_files(find_inputs([stored]), engine, REQUEST))
    assert [row["path"] for row in rows] == ["memory:///xrays/b.png", "memory:///xrays/below/a.png"]
    (alone,) = predict_files([tmp_path / "a.png"], engine, REQUEST)
    assert [without_time(row) for row in rows] == [without_time(alone)] * 2


def test_a_web_folder_is_listed_and_a_file_of_it_is_read(served, composite):
    folder, address = served
    for name in ("b.png", "below/a.png"):
        (folder / name).write_bytes(composite)
    assert list(find_inputs([address])) == [f"{address}b.png", f"{address}below/a.png"]
    assert list(find_inputs([f"{address}b.png"])) == [f"{address}b.png"]
    assert read_input(f"{address}below/a.png").data == composite


def test_of_a_huge_object_no_more_is_read_than_is_needed(served, monkeypatch):
    folder, address = served
    monkeypatch.setattr(inputs, "_READ_LIMIT", 10)
    (folder / "huge").write_bytes(bytes(1000))
    file = read_input(f"{address}huge")
    assert (len(file.data), file.sha256) == (10, None)


def test_a_large_object_is_read_as_a_whole(served):
    folder, address = served
    content = np.random.default_rng(0).bytes(3_000_000)  # it comes in many pieces
    (folder / "large.dcm").write_bytes(content)
    assert read_input(address + "large.dcm").data == content


def test_a_web_server_that_does_not_answer_has_not_lost_the_file():
    with pytest.raises(StoreError):
        read_input("http://127.0.0.1:9/a.png")


def test_an_object_that_is_gone_is_no_failure_of_the_store(served):
    with pytest.raises(UnreadablePathError):
        read_input(f"{served[1]}gone.png")
    with pytest.raises(UnreadablePathError):
        read_input("memory://gone.png")


@pytest.mark.usefixtures("stored")
def test_a_store_that_hiccups_is_asked_again_and_one_that_is_away_is_said(monkeypatch):
    store, failures = type(fsspec.filesystem("memory")), [OSError("reset"), OSError("reset")]
    opened = store.open

    def hiccup(*arguments, **options):
        if failures:
            raise failures.pop()
        return opened(*arguments, **options)

    monkeypatch.setattr(store, "open", hiccup)
    assert read_input("memory:///xrays/b.png").sha256
    failures[:] = [OSError("reset")] * 3
    with pytest.raises(StoreError):
        read_input("memory:///xrays/b.png")
    with pytest.raises(StoreError):
        list(find_inputs(["http://127.0.0.1:9/"]))
    with pytest.raises(StoreError):
        list(find_inputs(["nonsense://bucket"]))


def test_a_manifest_names_images_of_a_folder_or_a_store_once(tmp_path, stored):
    manifest = tmp_path / "list.csv"
    manifest.write_text("label,image\nnormal,a.png\nnormal,b.png\ncovid19,a.png\ncovid19,memory://xrays/b.png\n")
    there = [str(tmp_path / "a.png"), str(tmp_path / "b.png"), "memory://xrays/b.png"]
    assert list(find_inputs([], manifest=manifest)) == there
    elsewhere = list(find_inputs([], manifest=manifest, images=stored + "/"))
    assert elsewhere == ["memory://xrays/a.png", "memory://xrays/b.png"]
    manifest.write_text("file\na.png\n")
    with pytest.raises(ManifestError):
        list(find_inputs([], manifest=manifest))
    with pytest.raises(ManifestError):
        list(find_inputs([], manifest=tmp_path / "gone.csv"))


@pytest.mark.parametrize(
    "arguments",
    [[], ["http://reader:secret@127.0.0.1/"], ["assets", "--ray-address", "127.0.0.1:6379"], ["no such file"]],
    ids=["nothing", "password", "address_without_ray", "gone"],
)
def test_wrong_inputs_are_a_matter_of_usage(arguments, capsys):
    try:
        status = main(["predict", *arguments])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    assert "secret" not in capsys.readouterr().out


def test_a_store_that_is_away_ends_the_command_with_a_cure(engine, monkeypatch, caplog):
    monkeypatch.setattr(Engine, "load", lambda *_: engine)
    assert main(["predict", "http://127.0.0.1:9/"]) == 1
    assert "--resume" in caplog.text


def test_a_table_has_a_row_for_each_line_and_its_columns(tmp_path, engine, composite):
    names = ["a.png", "empty.png", "odd\udcff.png"]
    for name, data in zip(names, (composite, b"", composite), strict=True):
        (tmp_path / name).write_bytes(data)
    with Results(tmp_path / "out", REQUEST, engine.card.sha256, resume=False) as results:
        rows = list(predict_files([tmp_path / name for name in names], engine, REQUEST, results=results))
        write_table(tmp_path / "out" / "results.parquet", results.asked())
    table = parquet.read_table(tmp_path / "out" / "results.parquet").to_pylist()
    assert [row["status"] for row in table] == ["ok", "rejected", "ok"]
    assert [row["probability_covid19"] for row in table] == [(r["probabilities"] or {}).get("covid19") for r in rows]
    assert table[1]["code"] == "empty_file"
    assert table[2]["path"].endswith(r"odd\udcff.png")
    assert [json.loads(line)["path"] for line in (tmp_path / "out" / "results.jsonl").open()] == [
        r["path"] for r in rows
    ]
