"""Owns the kernels with dense blocks of activations (udc_csc, udc_udc, rowwise_first) and their plan."""
