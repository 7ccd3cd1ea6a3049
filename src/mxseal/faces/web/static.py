"""Files for browsers: style, scripts, pictures. Their address holds a hash, so they are kept for ever."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER = "public, max-age=31536000, immutable"


class Static:
    """All files of the folder `static`, in memory: there are few, and they are small."""

    def __init__(self) -> None:
        folder = resources.files("mxseal.faces.web").joinpath("static")
        self._files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
        self._packed = {name: gzip.compress(content, 9, mtime=0) for name, content in self._files.items()}
        whole = hashlib.sha256()
        for name, content in sorted(self._files.items()):
            whole.update(f"{name}\0{len(content)}\0".encode() + content)
        self.version = whole.hexdigest()[:16]

    def address(self, name: str) -> str:
        """Of a file, for a page. KeyError when there is none."""
        return f"/static/{self.version}/{name if name in self._files else self._missing(name)}"

    def _missing(self, name: str) -> str:
        raise KeyError(f"there is no static file {name}")

    async def serve(self, request: Request) -> Response:
        name = request.path_params["name"]
        if request.path_params["version"] != self.version or name not in self._files:
            return PlainTextResponse("There is no such file.", 404)
        headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
        content = self._files[name]
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            content = self._packed[name]
        return Response(content, headers=headers, media_type=_TYPES[name[name.rindex(".") :]])
