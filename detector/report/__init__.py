"""An answer as a row, a table, a page or a picture."""
