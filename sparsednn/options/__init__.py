"""The options of the library, each declared once: `groups` has them all, `fields` how they are declared."""
