"""Objects of S3 and Google Cloud Storage: GET and HEAD of /BUCKET/KEY, or of /KEY at a host named after the bucket."""

from __future__ import annotations

from messages import Answer, Request
from world import World, body_of

# What follows a bucket's name in the name of its host
S3 = ".s3.amazonaws.com"


def play(world: World, request: Request) -> Answer | None:
    """Return the object, or the XML of a missing one."""
    objects = world.scenes.get("buckets", {})
    path = f"/{request.host.removesuffix(S3)}{request.path}" if request.host.endswith(S3) else request.path
    bucket = path.strip("/").partition("/")[0]
    if path in objects:
        order = objects[path]
        headers = {"Content-Type": "binary/octet-stream"}
        return Answer(body=body_of(order), etag=order["etag"], headers=headers)
    if any(known.startswith(f"/{bucket}/") for known in objects):
        text = f"<Error><Code>NoSuchKey</Code><Message>no such key</Message><Key>{path}</Key></Error>"
        return Answer.of_bytes(text.encode(), "application/xml", 404)
    return None
