"""Manifests, pictures and how they are varied."""
