"""Reads ONNX files and walks their graphs; the only package that imports onnx."""
