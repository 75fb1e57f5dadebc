"""From command line and YAML to a checked configuration: schema, overrides, rules."""
