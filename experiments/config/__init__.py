"""Owns the configuration: turns command line and YAML into a checked one, by schema, overrides and rules."""
