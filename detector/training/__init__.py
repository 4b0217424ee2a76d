"""Training, evaluation and audit. The app never imports this package."""
