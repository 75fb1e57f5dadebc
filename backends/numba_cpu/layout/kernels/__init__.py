"""Where a column's connections lie, in compiled code."""
