"""What a reader is told about one image."""
