"""Whatever a caller gives is checked here: arrays and matrices become float32, single values Python's own types."""
