"""Compiles the C programs of the benchmarks, load and sink, when they are missing or out of date."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab import Unavailable
from lab.debs import unpacked

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PROGRAMS = RESULTS / "bin"
SOURCES = {"load": ("load.c", "light.c"), "sink": ("sink.c",)}
_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
_HEADER = Path("/usr/include/openssl/ssl.h")


def program(name: str) -> Path:
    """The compiled program `name`. Raises Unavailable when this machine can't compile it."""
    sources, built = [HERE / each for each in SOURCES[name]], PROGRAMS / name
    newest = max(path.stat().st_mtime for path in (*sources, *HERE.glob("*.h")))
    if built.exists() and built.stat().st_mtime > newest:
        return built
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Unavailable("The load generator is a C program and there is no compiler: apt install gcc.")
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    fresh = built.with_suffix(".new")
    words = [compiler, *_FLAGS, *_places(), "-o", str(fresh), *map(str, sources), "-lssl", "-lcrypto"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{name}.c does not compile: {done.stderr.strip()[-2000:]}")
    fresh.rename(built)
    return built


def _places() -> list[str]:
    """Options that lead to OpenSSL's headers: the system's, else those of a package unpacked for us alone."""
    if _HEADER.exists():
        return []
    tree = unpacked("libssl-dev")
    folders = [tree.root / "usr/include", *tree.root.glob("usr/include/*-linux-gnu*")]
    libraries = [path for path in tree.root.glob("usr/lib/*-linux-gnu*") if path.is_dir()]
    # The package's libssl.so leads to a library beside it, which may be installed in the system alone.
    return [f"-I{path}" for path in folders] + [f"-L{path}" for path in (*libraries, *_system_libraries())]


def _system_libraries() -> list[Path]:
    return [path for path in Path("/usr/lib").glob("*-linux-gnu*") if path.is_dir()]
