"""ONNX Runtime Web, the program that runs ONNX files in browsers: one release, fetched when it is needed.

It is 33 MB large, so it is kept nowhere. What comes from a registry or a file has to be the release whose checksum
stands here. A browser loads one of two builds: that with WebGPU where it has a GPU and can wait for it (JavaScript
Promise Integration), else the one for WebAssembly alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
import urllib.error
import urllib.request
from itertools import chain
from pathlib import Path
from typing import Final

from gwm_sim.errors import ConfigError

VERSION: Final = "1.31.1"
INTEGRITY: Final = "5GeH+bWQ+HxM10z7erGlsWqryrwMbSvm/1tkIsKTT48g0fI19VXVVC435t4t7VsPdSQeS7NmuZPXrQ73k82URw=="
"""SHA-512 of the package, in base64, as the registry states it."""
REGISTRY: Final = "https://registry.npmjs.org"
BUILDS: Final = (
    ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    ("ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
)
"""What a browser loads of it: for WebAssembly alone, or with WebGPU."""
LICENSE: Final = f"""ONNX Runtime Web {VERSION}, https://github.com/microsoft/onnxruntime

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
SECONDS: Final = 60.0
"""Longest silence of the registry."""


def fetch() -> bytes:
    """The package from the registry of npm, or from that in the environment as npm_config_registry.

    Raises:
        ConfigError: It cannot be had, or is not the release that is expected.
    """
    registry = os.environ.get("npm_config_registry") or os.environ.get("NPM_CONFIG_REGISTRY") or REGISTRY
    url = f"{registry.rstrip('/')}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"the registry of npm must be an http address, got {registry!r} in npm_config_registry")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as response:
            package: bytes = response.read()
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ConfigError(
            f"{url} cannot be fetched ({error}). Where npm works, run `npm pack onnxruntime-web@{VERSION}`, then give "
            "the file that it makes: --runtime FILE"
        ) from error
    return checked(package, url)


def read(file: Path) -> bytes:
    """The package from a file.

    Raises:
        ConfigError: There is no such file, or it is another release.
    """
    if not file.is_file():
        raise ConfigError(f"--runtime {file} is no file: give what `npm pack onnxruntime-web@{VERSION}` makes")
    return checked(file.read_bytes(), str(file))


def checked(package: bytes, source: str) -> bytes:
    """The same package, if it is the release that is expected.

    Raises:
        ConfigError: It is another one, or damaged.
    """
    found = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if found != INTEGRITY:
        raise ConfigError(
            f"{source} is not onnxruntime-web {VERSION}: its SHA-512 is {found[:16]}..., not {INTEGRITY[:16]}.... "
            f"Run `npm pack onnxruntime-web@{VERSION}` and give the file that it makes: --runtime FILE"
        )
    return package


def unpack(package: bytes, folder: Path) -> None:
    """Write what a browser needs of the package into a new folder, and its licence."""
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for name in chain(*BUILDS):
            file = archive.extractfile(f"package/dist/{name}")
            assert file is not None  # of a release that was checked
            (folder / name).write_bytes(file.read())
    (folder / "LICENSE").write_text(LICENSE, encoding="utf-8")
