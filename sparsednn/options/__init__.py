"""Owns the options of the library, each declared once: `fields` has the kinds of fields, `groups` the options."""
