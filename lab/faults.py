"""A disk that fails and a clock that jumps, for one process and what it starts: `faults.c`, preloaded."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

from lab import Unavailable

_SOURCE = Path(__file__).with_name("faults.c")


class Faults:
    """Give `environment` to a process; then `disk` and `clock` decide what it meets."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes the compiled library. Raises Unavailable without a C compiler."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Unavailable("There is no C compiler here: apt install gcc")
        library = folder / "faults.so"
        words = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(_SOURCE), "-ldl"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"faults.c can't be compiled here: {done.stderr.strip()[-500:]}")
        self._disk = folder / "faults"
        self._clock = folder / "clock"
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAULTS_FILE": str(self._disk),
            "CLOCK_FILE": str(self._clock),
        }

    def disk(self, path: Path, number: int = errno.EIO) -> None:
        """From now on changing anything below `path` fails with this errno."""
        self._write(self._disk, f"{number} {path.resolve()}")

    def disk_works(self) -> None:
        self._write(self._disk, "0 /")

    def clock(self, seconds: int) -> None:
        """From now on the wall clock is wrong by so many seconds."""
        self._write(self._clock, str(seconds))

    @staticmethod
    def _write(path: Path, text: str) -> None:
        draft = path.with_suffix(".new")
        draft.write_text(text)
        draft.rename(path)
