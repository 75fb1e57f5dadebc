"""The compiled code of activations in CSC."""
