"""Which module plays which host, and the repositories whose APIs are a page each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import buckets
import eutils
import gdc
from messages import Answer, Request
from world import World


def play(world: World, request: Request) -> Answer | None:
    """Return what the host's API answers, or None where it has nothing at this address."""
    player = _player(request.host)
    return player(world, request) if player else None


def is_played(host: str) -> bool:
    """Return whether a host is one of those below."""
    return _player(host) is not None


def _player(host: str) -> Callable[[World, Request], Answer | None] | None:
    return buckets.play if host.endswith(buckets.S3) else HOSTS.get(host)


def _figshare(world: World, request: Request) -> Answer | None:
    """GET /v2/articles/ID/files?page=&page_size= and the two addresses of a file; bytes come from the store behind."""
    articles: dict[str, list[dict[str, Any]]] = world.scenes.get("figshare", {})
    parts = request.path.strip("/").split("/")
    if parts[:2] == ["v2", "articles"] and parts[3:] == ["files"]:
        if parts[2] not in articles:
            return Answer.of_json({"message": "Entity not found: article", "code": "EntityNotFound"}, 404)
        page, size = int(request.query.get("page", 1)), min(int(request.query.get("page_size", 10)), 1000)
        files = articles[parts[2]][(page - 1) * size : page * size]
        return Answer.of_json([{key: file[key] for key in file if key != "stored"} for file in files])
    if parts[:-1] in (["files"], ["v2", "file", "download"]):
        for file in (file for files in articles.values() for file in files):
            if str(file["id"]) == parts[-1]:
                return Answer.redirect(file["stored"])
    return None


def _figshare_front(world: World, request: Request) -> Answer | None:
    """The front page's download address: a challenge instead of the file since January 2026."""
    return Answer(status=202, headers={"x-amzn-waf-action": "challenge"})


def _zenodo(world: World, request: Request) -> Answer | None:
    """GET /api/records/ID, and the bytes at the address in its files' links."""
    records: dict[str, dict[str, Any]] = world.scenes.get("zenodo", {})
    parts = request.path.strip("/").split("/")
    if parts[:2] != ["api", "records"] or len(parts) < 3:
        return None
    record = records.get(parts[2])
    if record is None:
        return Answer.of_json({"status": 404, "message": "The persistent identifier does not exist."}, 404)
    return Answer.of_json(record) if len(parts) == 3 else None


def _cellxgene(world: World, request: Request) -> Answer | None:
    """GET /curation/v1/collections/ID."""
    collections: dict[str, dict[str, Any]] = world.scenes.get("cellxgene", {})
    parts = request.path.strip("/").split("/")
    if parts[:3] != ["curation", "v1", "collections"] or len(parts) != 4:
        return None
    if parts[3] not in collections:
        return Answer.of_json({"detail": "Collection not found.", "status": 404, "title": "Not Found"}, 404)
    return Answer.of_json(collections[parts[3]])


def _geo(world: World, request: Request) -> Answer | None:
    """The folder of supplementary files: an index page, filelist.txt, and the files."""
    for series, names in world.scenes.get("geo", {}).items():
        folder = f"/geo/series/{series[:-3]}nnn/{series}/suppl/"
        if request.path == folder:
            lines = [f'<a href="{quote(name)}">{name}</a>   2021-06-11 10:23   1M  ' for name in names]
            page = _INDEX.format(
                folder=folder.rstrip("/"), parent=folder.removesuffix("suppl/"), lines="\n".join(lines)
            )
            return Answer.of_bytes(page.encode(), "text/html;charset=ISO-8859-1")
    return None


_INDEX = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html>
 <head>
  <title>Index of {folder}</title>
 </head>
 <body>
<h1>Index of {folder}</h1>
<pre>Name                    Last modified      Size  <hr><a href="{parent}">Parent Directory</a>   -
{lines}
<hr></pre>
<a href="https://www.hhs.gov/vulnerability-disclosure-policy/index.html">HHS Vulnerability Disclosure</a>
</body></html>
"""


def _ncbi_front(world: World, request: Request) -> Answer | None:
    """A captcha, served as 200."""
    page = b"<!DOCTYPE html><html><head><title>Checking your browser - reCAPTCHA</title></head><body></body></html>"
    return Answer.of_bytes(page, "text/html; charset=utf-8")


def _stored(world: World, request: Request) -> Answer | None:
    """A host that has nothing but the files that tests serve there."""
    return None


HOSTS: dict[str, Callable[[World, Request], Answer | None]] = {
    "api.figshare.com": _figshare,
    "ndownloader.figshare.com": _figshare,
    "figshare.com": _figshare_front,
    "zenodo.org": _zenodo,
    "api.cellxgene.cziscience.com": _cellxgene,
    "datasets.cellxgene.cziscience.com": _stored,
    "ftp.ncbi.nlm.nih.gov": _geo,
    "www.ncbi.nlm.nih.gov": _ncbi_front,
    "eutils.ncbi.nlm.nih.gov": eutils.play,
    "api.gdc.cancer.gov": gdc.play,
    "s3-eu-west-1.amazonaws.com": _stored,
    "s3.us-east-1.amazonaws.com": buckets.play,
    "storage.googleapis.com": buckets.play,
    "127.0.0.1": buckets.play,
}
