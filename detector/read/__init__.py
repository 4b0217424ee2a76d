"""A file's bytes -> Radiograph."""
