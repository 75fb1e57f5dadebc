"""The reference: slow, obvious, and the law that all other backends are held to."""
