"""What was measured, drawn and written down."""
