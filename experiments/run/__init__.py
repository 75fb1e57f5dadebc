"""One point is run: load, estimate, infer, check, show."""
