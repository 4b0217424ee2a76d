"""Bytes -> Radiograph."""
