"""Owns the kernels with dense blocks of activations (udc_csc, udc_udc, adaptive) and their plan."""
