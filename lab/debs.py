"""Debian packages unpacked into a private folder, with the libraries that they need; nothing is installed.

Postfix and Exim exclude each other as installed packages; side by side in private folders they don't. The
folders are kept, so only the first run downloads: ~/.cache/mxseal-lab, or /var/cache/mxseal-lab for root when
other users can't pass through root's home (the servers give up root and must still reach their files).

    python -m lab.debs [PACKAGE ...]     fetches and unpacks what is missing, and says where it is
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import Unavailable
from lab.place import open_to_all

PACKAGES = (
    "postfix",
    "exim4-daemon-light",
    "libnss-wrapper",
    "knot",
    "slapd",
    "ldap-utils",
    "testssl.sh",
    "openssh-client",
    "tshark",
    "wireshark-common",
    "tcpdump",
    "rsyslog",
    "rsyslog-openssl",
    "prometheus",
    "chromium",
    "libnss3-tools",
    "c-icap",
    "libc-icap-mod-virus-scan",
    "clamav-daemon",
)
_COMPANIONS = {"chromium": ("chromium-common", "fonts-inter", "fonts-dejavu-core")}
"""What a package needs to be of use beside libraries: the browser's pictures and the same fonts anywhere."""
_TOOLS = ("apt-get", "apt-cache", "dpkg", "dpkg-query")
_COMPLETE = ".complete"


@dataclass(frozen=True)
class Tree:
    """An unpacked package: `root` stands for / of the packages' paths."""

    name: str
    version: str
    root: Path

    def path(self, inside: str) -> Path:
        """The file that the package would install as /`inside`."""
        return self.root / inside

    def libraries(self) -> str:
        """LD_LIBRARY_PATH for the programs inside."""
        folders = [*self.root.glob("usr/lib/*-linux-gnu*"), *self.root.glob("lib/*-linux-gnu*")]
        return ":".join(
            str(folder) for folder in [*folders, self.root / "usr/lib/postfix"] if folder.is_dir()
        )

    def environment(self) -> dict[str, str]:
        """What a program inside needs in its environment."""
        return {"LD_LIBRARY_PATH": self.libraries()}


def say(text: str) -> None:
    """One line of progress, on standard error."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def cache() -> Path:
    """The folder of the unpacked packages; made when missing."""
    wanted = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mxseal-lab"
    if os.getuid() == 0 and not open_to_all(wanted):
        wanted = Path("/var/cache/mxseal-lab")
    wanted.mkdir(mode=0o755, parents=True, exist_ok=True)
    return wanted


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """One process at a time; the others wait and then find the work done."""
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(words: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        list(words), cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line.startswith("W:")]
    return lines[-1] if lines else "it said nothing"


def _candidate(package: str) -> str | None:
    """The version that apt would install, None when its lists don't know the package."""
    for line in _run(["apt-cache", "policy", package]).stdout.splitlines():
        key, _, value = line.strip().partition(": ")
        if key == "Candidate" and value != "(none)":
            return value
    return None


def _update_lists(package: str) -> None:
    if os.getuid() != 0:
        raise Unavailable(
            f"apt's lists don't offer the package {package}, and only root may fetch them: "
            "run 'apt-get update' as root."
        )
    say("fetching apt's package lists (apt-get update)")
    done = _run(["apt-get", "update", "-q"])
    if done.returncode:
        raise Unavailable(f"'apt-get update' failed: {_last_line(done.stderr)}")


def _installed(package: str) -> bool:
    return _run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package]).stdout.strip() == "installed"


def _missing_libraries(package: str) -> list[str]:
    """Library packages that `package` needs, directly or through others, and that this system has not."""
    found: list[str] = []
    seen = {package}
    waiting = [package]
    while waiting:
        for line in _run(["apt-cache", "depends", "--important", waiting.pop()]).stdout.splitlines():
            kind, _, name = line.strip().removeprefix("|").partition(": ")
            if kind != "Depends" or not name.startswith("lib") or name in seen:
                continue
            seen.add(name)
            if not _installed(name):
                found.append(name)
                waiting.append(name)
    return found


def _download(packages: Sequence[str], folder: Path) -> None:
    words = ["apt-get", "download", "-q", *packages]
    done = _run(words, folder)
    if done.returncode and os.getuid() == 0:
        _update_lists(packages[0])  # lists older than the archive name files that are gone
        done = _run(words, folder)
    if done.returncode:
        raise Unavailable(f"apt-get can't download {', '.join(packages)}: {_last_line(done.stderr)}")


def _copy_installed(package: str, target: Path) -> None:
    """The files of a package that this system has installed, copied: no network is needed then."""
    for line in _run(["dpkg-query", "-L", package]).stdout.splitlines():
        source = Path(line)
        place = target / line.lstrip("/")
        if source.is_file() or (source.is_symlink() and not source.is_dir()):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place, follow_symlinks=False)


def _without_privileges(folder: Path) -> None:
    """Take away set-uid and set-gid: with them the loader would ignore the private libraries."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o777)


def _unpack(package: str, version: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as name:
        work = Path(name)
        root = work / "root"
        root.mkdir(mode=0o755)
        if _installed(package):
            say(f"copying the installed package {package}")
            _copy_installed(package, root)
        else:
            wanted = [package, *_missing_libraries(package), *_COMPANIONS.get(package, ())]
            say(f"downloading {', '.join(wanted)}")
            _download(wanted, work)
            for deb in sorted(work.glob("*.deb")):
                done = _run(["dpkg", "-x", str(deb), str(root)])
                if done.returncode:
                    raise Unavailable(f"dpkg can't unpack {deb.name}: {_last_line(done.stderr)}")
        root.chmod(0o755)
        _without_privileges(root)
        (root / _COMPLETE).write_text(version)
        root.rename(target)


def unpacked(package: str) -> Tree:
    """The package's private folder, fetched first if need be. Raises Unavailable with what is missing."""
    folder = cache()
    with _locked(folder, package):
        for ready in sorted(folder.glob(f"{package}-[0-9]*/{_COMPLETE}"), reverse=True):
            return Tree(package, ready.read_text(), ready.parent)
        for tool in _TOOLS:
            if shutil.which(tool) is None:
                raise Unavailable(
                    f"{package} is fetched as a Debian package and {tool} is not here: use Debian 12."
                )
        version = _candidate(package)
        if version is None:
            _update_lists(package)
            version = _candidate(package)
        if version is None:
            raise Unavailable(f"apt knows no package {package}: add Debian's main archive to its sources.")
        target = folder / f"{package}-{version.replace(':', '_')}"
        if target.exists():
            shutil.rmtree(target)
        _unpack(package, version, target)
        say(f"{package} {version} is in {target}")
        return Tree(package, version, target)


def main(words: Sequence[str]) -> int:
    """Fetch the packages named, or all that the laboratory uses. Exit status 0, or 1 after a sentence."""
    try:
        for package in words or PACKAGES:
            tree = unpacked(package)
            print(f"{tree.name} {tree.version}: {tree.root}")
    except Unavailable as reason:
        say(str(reason))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
