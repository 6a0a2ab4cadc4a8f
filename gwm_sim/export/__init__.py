"""Worlds for runtimes without torch: as ONNX files, and as a page that needs no server."""
