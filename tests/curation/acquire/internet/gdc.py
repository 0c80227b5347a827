"""The Genomic Data Commons: its files endpoint with filters and pages, and single and batched downloads."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

from messages import Answer, Body, Request, gzipped
from world import World, body_of


def play(world: World, request: Request) -> Answer | None:
    """Return the answer of /files or /data."""
    files: dict[str, dict[str, Any]] = world.scenes.get("gdc", {})
    if request.method == "HEAD":
        return Answer(status=405, headers={"Allow": "GET, POST"})
    if request.path == "/files":
        return _listing(files, request)
    if request.path == "/data" and request.method == "POST":
        return _batch(files, request)
    if request.path.startswith("/data/"):
        return _batch_or_single(files, request.path.removeprefix("/data/").split(","))
    return None


def _listing(files: dict[str, dict[str, Any]], request: Request) -> Answer:
    asked = json.loads(request.body) if request.body else request.query
    filters = asked.get("filters")
    filters = json.loads(filters) if isinstance(filters, str) else filters
    try:
        hits = [file["hit"] for file in files.values() if not filters or _passes(file, filters)]
    except KeyError as error:
        return Answer.of_json({"message": f"filters: unknown key {error}"}, 400)
    field = str(asked.get("sort", "file_id")).partition(":")[0] or "file_id"
    descending = str(asked.get("sort", "")).endswith(":desc")
    hits.sort(key=lambda hit: str(_values(hit, field)), reverse=descending)
    start, size = int(asked.get("from", 0)), int(asked.get("size", 10))
    page = [_trimmed(hit, asked.get("fields")) for hit in hits[start : start + size]]
    pagination = {
        "count": len(page),
        "total": len(hits),
        "size": size,
        "from": start,
        "sort": asked.get("sort", ""),
        "page": start // size + 1 if size else 0,
        "pages": -(-len(hits) // size) if size else 0,
    }
    return Answer.of_json({"data": {"hits": page, "pagination": pagination}, "warnings": {}})


def _passes(file: dict[str, Any], filters: dict[str, Any]) -> bool:
    content = filters["content"]
    match filters["op"]:
        case "and":
            return all(_passes(file, part) for part in content)
        case "or":
            return any(_passes(file, part) for part in content)
        case "in" | "=":
            wanted = content["value"] if isinstance(content["value"], list) else [content["value"]]
            field = content["field"].removeprefix("files.")
            return bool({str(value) for value in wanted} & {str(value) for value in _values(file["facts"], field)})
    raise KeyError(filters["op"])


def _values(record: Any, field: str) -> list[Any]:
    """Return every value at a dotted field; lists on the way are all followed."""
    if isinstance(record, list):
        return [value for item in record for value in _values(item, field)]
    if not field:
        return [record]
    if not isinstance(record, dict):
        return []
    if field in record:
        return _values(record[field], "")
    name, _, rest = field.partition(".")
    return _values(record[name], rest) if name in record else []


def _trimmed(hit: dict[str, Any], fields: Any) -> dict[str, Any]:
    """Return a hit with the fields that were asked for; `id` always comes along."""
    names = fields.split(",") if isinstance(fields, str) else fields
    if not names:
        return {"id": hit["file_id"], **hit}
    kept = _keep(hit, [name.strip() for name in names])
    return {"id": hit["file_id"], **kept}


def _keep(record: Any, names: list[str]) -> Any:
    if isinstance(record, list):
        return [_keep(item, names) for item in record]
    kept = {}
    for key, value in record.items():
        below = [name.removeprefix(f"{key}.") for name in names if name.startswith(f"{key}.")]
        if key in names:
            kept[key] = value
        elif below and isinstance(value, (dict, list)):
            kept[key] = _keep(value, below)
    return kept


def _batch(files: dict[str, dict[str, Any]], request: Request) -> Answer:
    ids = json.loads(request.body).get("ids", [])
    return _batch_or_single(files, [ids] if isinstance(ids, str) else ids)


def _batch_or_single(files: dict[str, dict[str, Any]], ids: list[str]) -> Answer:
    missing = [file_id for file_id in ids if file_id not in files]
    if missing or not ids:
        return Answer.of_json({"message": f"the requested files were not found: {', '.join(missing[:5])}"}, 404)
    if len(ids) == 1:
        file = files[ids[0]]
        headers = {"Content-Disposition": f"attachment; filename={file['hit']['file_name']}"}
        headers["Content-Type"] = "application/octet-stream"
        return Answer(body=body_of(file), headers=headers, etag=f'"{file["hit"]["md5sum"]}"')
    archive = io.BytesIO()
    manifest = ["id\tfilename\tmd5\tsize\tstate"]
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for file_id in ids:
            hit = files[file_id]["hit"]
            _add(tar, f"{file_id}/{hit['file_name']}", body_of(files[file_id]).read())
            row = (file_id, f"{file_id}/{hit['file_name']}", hit["md5sum"], str(hit["file_size"]), "released")
            manifest.append("\t".join(row))
        _add(tar, "MANIFEST.txt", "\n".join(manifest).encode() + b"\n")
    headers = {"Content-Type": "application/x-tar", "Content-Disposition": "attachment; filename=gdc_download.tar.gz"}
    return Answer(body=Body.of(gzipped(archive.getvalue())), headers=headers, chunked=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
