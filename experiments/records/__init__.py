"""Records are read, checked and compared: ``python -m experiments.records FOLDER...``."""
