"""The compiled code of activations in CSR."""
