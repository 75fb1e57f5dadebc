"""The only door to a GPU: the interface of a device, and CuPy's."""
