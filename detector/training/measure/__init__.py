"""Figures of a network on labelled X-rays."""
