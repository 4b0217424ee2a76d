"""Where the files that come with the program lie: beside the package in a checkout, inside it when installed."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_HOME = _PACKAGE / "home" if (_PACKAGE / "home").is_dir() else _PACKAGE.parent

MODELS = _HOME / "models"
ASSETS = _HOME / "assets"
PAGE = _HOME / "streamlit_app.py"
PAGE_SETTINGS = _HOME / ".streamlit"
