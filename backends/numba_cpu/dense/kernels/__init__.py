"""The compiled code of dense blocks."""
