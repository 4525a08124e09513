"""Build a layer: what its lock names for both architectures, the package, and bytecode.

Every execution environment unpacks and imports its layers before it does any work, so what nothing
of ours imports is left out, and libcurl, ten times as large as all the rest, has a layer of its own
for the one function that calls the API. The result depends on the sources and the lock alone, not
on the machine that builds it.
"""

from __future__ import annotations

import compileall
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PACKAGE: Final = "batch_core"
LOCKS: Final = {"core": HERE / "requirements.txt", "libcurl": HERE / "requirements_libcurl.txt"}
ARCHITECTURES: Final = ("x86_64", "aarch64")
# The glibc versions that wheels are built for, up to the one of the Lambda runtime (2.34).
PLATFORMS: Final = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")

# Type stubs and sources of the extension modules, which are of no use at run time.
UNUSED_SUFFIXES: Final = frozenset({".pyi", ".typed", ".pyx", ".pxd", ".pxi", ".c", ".h"})
# Metadata, programs and tests; then parts that no function imports, more than half of all files.
# None of the packages asks importlib.metadata for itself when it is imported.
UNUSED: Final = (
    "*.dist-info",
    "bin",
    "*-stubs",
    "curl",
    "aws_lambda_powertools/event_handler",
    "aws_lambda_powertools/utilities/[!_j]*",
    "aws_xray_sdk/ext",
)


def main() -> None:
    """Build the layer of the first word in the folder that `sam build` names."""
    layer = sys.argv[1]
    root = Path(sys.argv[2]) / "python"
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for wheels in install(LOCKS[layer], Path(folder)):
            # Both into one tree: the names of extension modules carry the platform.
            shutil.copytree(wheels, root, dirs_exist_ok=True)
    prune(root)
    for module in root.rglob("*.so*"):
        strip(module)
    if layer == "core":
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(HERE / PACKAGE, root / PACKAGE, ignore=unwanted)
    compile_all(root)


def install(lock: Path, folder: Path) -> list[Path]:
    """Install the lock's wheels, for each architecture into a folder of its own."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--quiet", "--no-compile"]
    running = {
        architecture: subprocess.Popen(
            [*pip, f"--target={folder / architecture}", *wheels_of(lock, architecture)]
        )
        for architecture in ARCHITECTURES
    }
    failed = [architecture for architecture, program in running.items() if program.wait() != 0]
    if failed:
        sys.exit(f"pip could not install the layer's requirements for {' and '.join(failed)}")
    return [folder / architecture for architecture in ARCHITECTURES]


def wheels_of(lock: Path, architecture: str) -> list[str]:
    """Return the words that tell pip which wheels are meant."""
    return [
        *("--no-deps", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"),
        *("--implementation=cp", "--python-version=3.13"),
        *(f"--platform={platform}_{architecture}" for platform in PLATFORMS),
        *("--requirement", str(lock)),
    ]


def prune(root: Path) -> None:
    """Remove what nothing imports."""
    for pattern in UNUSED:
        for path in list(root.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in list(root.rglob("*")):
        if path.suffix in UNUSED_SUFFIXES and path.is_file():
            path.unlink()


def strip(module: Path) -> None:
    """Cut off what follows the last segment that is loaded: debug information, symbols, sections.

    The loader reads segments alone, and wheels ship up to nine tenths of ballast. No `strip` of
    one architecture handles files of the other, and a builder may have none.
    """
    image = bytearray(module.read_bytes())
    # ELF, 64 bits, little-endian: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
    if image[:6] != b"\x7fELF\x02\x01":
        sys.exit(f"{module} is not an extension module of a 64-bit Linux")
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    end = table + size * count
    for entry in range(table, table + size * count, size):
        (offset,) = struct.unpack_from("<Q", image, entry + 8)
        (length,) = struct.unpack_from("<Q", image, entry + 32)
        end = max(end, offset + length)
    struct.pack_into("<Q", image, 40, 0)  # there is no section table any more ...
    struct.pack_into("<HH", image, 60, 0, 0)  # ... nor are there sections, nor their names
    module.write_bytes(image[:end])


def compile_all(root: Path) -> None:
    """Compile every module to bytecode that is used whatever the file's time.

    A package's times are not kept on their way to Lambda, so ordinary bytecode would never be used.
    """
    compiled = compileall.compile_dir(
        root,
        quiet=1,
        # Tracebacks name the file where Lambda has it.
        stripdir=str(root.parent),
        prependdir="/opt",
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )
    if not compiled:
        sys.exit("a module of the layer cannot be compiled")


if __name__ == "__main__":
    main()
