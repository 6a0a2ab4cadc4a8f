"""Worlds for runtimes without torch, as ONNX files."""
