"""Data: generated networks, rebuilt challenge inputs, and the file formats that users have."""
