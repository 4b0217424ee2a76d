"""Radiograph -> logits and evidence maps."""
