"""The experiments, tables and figures of the book; the library itself does not import them."""
