"""The command that opens the page: its settings don't depend on the folder or the home that it is started in."""

import tomllib

import pytest

from detector.cli.app import server_command
from detector.cli.main import main
from detector.paths import PAGE, PAGE_SETTINGS

SETTINGS = tomllib.loads((PAGE_SETTINGS / "config.toml").read_text("utf-8"))
#: Streamlit's command line has no word for an empty list; it finds that one in the file beside the page.
NAMES = [f"{s}.{name}" for s, values in SETTINGS.items() for name, value in values.items() if value != []]


def theme(name):
    return tomllib.loads((PAGE_SETTINGS / f"{name}.toml").read_text("utf-8"))["theme"]


def flags(**options):
    command = server_command(port=8600, **options)
    return [part.removeprefix("--").split("=", 1) for part in command if part.startswith("--")]


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_of_the_file_is_said_outright(name):
    assert name in dict(flags())


def test_it_is_on_loopback_sends_no_statistics_and_is_dark_in_any_folder():
    said = dict(flags())
    assert said["server.address"] == said["browser.serverAddress"] == "127.0.0.1"
    assert said["browser.gatherUsageStats"] == "false"
    assert (said["theme.base"], said["theme.backgroundColor"]) == ("dark", theme("dark")["backgroundColor"])
    assert str(PAGE) in server_command(port=8600)


def test_a_list_is_said_value_by_value():
    hosts = [value for name, value in flags() if name == "server.allowedHosts"]
    assert hosts == SETTINGS["server"]["allowedHosts"]
    assert len(hosts) > 1


def test_light_port_and_browser_are_options():
    said = dict(flags(light=True, browser=False))
    assert (said["theme.base"], said["theme.backgroundColor"]) == ("light", theme("light")["backgroundColor"])
    assert said["server.headless"] == "true"
    assert said["server.port"] == "8600"


@pytest.mark.parametrize("package", ["tensorflow", "keras.layers", "sklearn"])
def test_a_missing_extra_is_named_with_what_installs_it(package, monkeypatch, caplog):
    def lacks(_options):
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr("detector.cli.models.run", lacks)
    assert main(["models"]) == 2
    assert "pip install 'chest-xray-detector[train]'" in caplog.text


def test_another_missing_module_is_a_defect_and_not_hidden(monkeypatch):
    def lacks(_options):
        raise ModuleNotFoundError(name="detector.nonesuch")

    monkeypatch.setattr("detector.cli.models.run", lacks)
    with pytest.raises(ModuleNotFoundError):
        main(["models"])
