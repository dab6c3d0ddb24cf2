"""Names the system library that is missing when OpenCV or MediaPipe cannot be imported (run by ``make`` after the
installation), since the loader's own message names a file that no one can install by that name."""

from __future__ import annotations

import importlib
import os
import sys

REQUIRED_MODULES = ("cv2", "onnxruntime", "mediapipe")

# shared object → Debian/Ubuntu package that holds it
DEBIAN_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libportaudio.so.2": "libportaudio2",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
}


def explain(module: str, error: Exception) -> str:
    """One message for a failed import: what failed, and the package that mends it where it is known."""
    text = str(error)
    for library, package in DEBIAN_PACKAGES.items():
        if library in text:
            return f"{module} needs the system library {library}; on Debian or Ubuntu: apt-get install {package}"
    return f"{module} could not be imported: {text}"


def problems(modules: tuple[str, ...] = REQUIRED_MODULES) -> list[str]:
    """The modules that cannot be imported, each with what to do; empty when all is well."""
    found = []
    for module in modules:
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            found.append(explain(module, error))
    return found


def main() -> None:
    os.environ.setdefault("GLOG_minloglevel", "2")
    messages = problems()
    for message in messages:
        print(f"flashproof: {message}", file=sys.stderr)
    sys.exit(1 if messages else 0)


if __name__ == "__main__":
    main()
