"""The kept inputs: one small text file each, in a folder per target.

A file begins with lines of `# why it is kept`; the rest is the input. In `.hex` it is hexadecimal, in `.txt`
it is text whose line breaks count for nothing, with Python's escapes for what is not printable ASCII: files
survive every editor, and a difference between two of them can be read.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
_COLUMNS = 100


def read(path: Path) -> bytes:
    """The input in a file."""
    lines = [line for line in path.read_text("ascii").splitlines() if not line.startswith("# ")]
    if path.suffix == ".hex":
        return bytes.fromhex("".join(lines))
    return bytes(codecs.escape_decode("".join(lines).encode())[0])


def kept(target: str, folder: Path = CORPUS) -> Iterator[tuple[str, bytes]]:
    """(file name, input) of all that is kept for a target."""
    for path in sorted((folder / target).glob("*")):
        if path.suffix in {".txt", ".hex"}:
            yield path.name, read(path)


def keep(target: str, data: bytes, why: str, folder: Path = CORPUS) -> Path:
    """Write an input; its name is its hash, so that the same one is kept once."""
    plain = sum(32 <= byte < 127 or byte in b"\r\n" for byte in data)
    path = folder / target / hashlib.sha256(data).hexdigest()[:12]
    path = path.with_suffix(".txt" if 4 * plain >= 3 * len(data) else ".hex")
    path.parent.mkdir(parents=True, exist_ok=True)
    head = " ".join(why.encode("ascii", "backslashreplace").decode().split())[:_COLUMNS]
    lines = _hexadecimal(data) if path.suffix == ".hex" else _escaped(data)
    path.write_text("\n".join([f"# {head}", *lines, ""]), "ascii")
    return path


def _hexadecimal(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), _COLUMNS // 2):
        yield data[start : start + _COLUMNS // 2].hex()


def _escaped(data: bytes) -> Iterator[str]:
    """A new line after each line end of the input, and never in the midst of an escape."""
    line = ""
    for byte in data:
        letter = chr(byte) if 32 < byte < 127 and byte != 0x5C else f"\\x{byte:02x}"
        # A space counts only where an editor does not take it away, and a # where it begins no comment.
        if byte == 32 and line:
            letter = " "
        if letter == "#" and not line:
            letter = "\\x23"
        line += {"\\x0d": "\\r", "\\x0a": "\\n", "\\x5c": "\\\\"}.get(letter, letter)
        if byte == 10 or len(line) >= _COLUMNS:
            yield _kept_space(line)
            line = ""
    if line:
        yield _kept_space(line)


def _kept_space(line: str) -> str:
    return line[:-1] + "\\x20" if line.endswith(" ") else line
