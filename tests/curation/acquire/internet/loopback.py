"""What tests hold of the loopback internet: `Internet` arranges it and reads its log, `Fault` is one wrong answer."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

CAPTCHA = b"<!DOCTYPE html>\n<html><head><title>Checking your browser - reCAPTCHA</title></head></html>"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one request; several attributes may be set.

    Attributes
    ----------
    cut_after : int
        The connection ends after so many bytes of the body.
    reset_after : int
        As `cut_after`, by a reset.
    hang_up : bool
        A reset before the first byte of the answer.
    stall_after, stall_s : int, float
        So many bytes, then nothing: for the time and then the rest, or for good.
    bytes_per_s : float
        The rate of the body.
    status : int
        Another status, with an empty body unless `body` is set.
    body : bytes
        Another body, without an ETag.
    headers : mapping
        Added to the answer's, and stronger.
    corrupt : bool
        The byte in the middle of the file is another one.
    other_version : bool
        Another file of the same length, with another ETag.
    short_by : int
        The file lacks so many bytes at its end, and the headers agree.
    length_delta : int
        Content-Length is off by so much.
    no_length, chunked : bool
        No Content-Length and the connection ends with the body; or a chunked body.
    ignore_range : bool
        200 and the whole file, whatever range was asked for.
    redirect_loop : bool
        A redirect to an address that redirects to itself, for good.
    tls : str
        The next handshake's certificate is a `stranger`'s or that of an `other_host`; counts for the whole host.
    method : str
        Only requests with this method meet the fault.
    """

    cut_after: int | None = None
    reset_after: int | None = None
    hang_up: bool = False
    stall_after: int | None = None
    stall_s: float | None = None
    bytes_per_s: float | None = None
    status: int | None = None
    body: bytes | None = None
    headers: Mapping[str, str] | None = None
    corrupt: bool = False
    other_version: bool = False
    short_by: int = 0
    length_delta: int = 0
    no_length: bool = False
    chunked: bool = False
    ignore_range: bool = False
    redirect_loop: bool = False
    tls: str = ""
    method: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what is set."""
        default = Fault.__dataclass_fields__
        fields = {key: value for key, value in vars(self).items() if value != default[key].default}
        return {**fields, **({"body": self.body.decode("latin-1")} if self.body is not None else {})}


def captcha(kind: str = "text/html; charset=utf-8") -> Fault:
    """Return the page that asks whether one is human, served as 200."""
    return Fault(body=CAPTCHA, headers={"Content-Type": kind})


def busy(status: int = 429, retry_after: str | None = None) -> Fault:
    """Return the answer of a server that asks to come back later."""
    return Fault(status=status, headers={"Retry-After": retry_after} if retry_after is not None else {})


class Internet:
    """A running loopback internet.

    Parameters
    ----------
    folder : Path
        Bodies and the certificates of the authority lie here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        program = Path(__file__).with_name("serve.py")
        self._log = (folder / "serve.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(program), "--folder", str(folder)], stdout=self._log, stderr=self._log
        )
        ready = folder / "ready.json"
        until = time.monotonic() + 60
        while not ready.exists():
            assert self._process.poll() is None, (folder / "serve.log").read_text()
            assert time.monotonic() < until, "the loopback internet did not start"
            time.sleep(0.01)
        state = json.loads(ready.read_text())
        self.port: int = state["port"]
        self.authority = Path(state["authority"])
        self._line = http.client.HTTPConnection("127.0.0.1", self.port)
        self._turn = threading.Lock()

    def close(self) -> None:
        """End the server."""
        self._line.close()
        self._process.terminate()
        self._process.wait()
        self._log.close()

    @property
    def printed(self) -> str:
        """What the server wrote, tracebacks above all."""
        return (self.folder / "serve.log").read_text()

    def env(self) -> dict[str, str]:
        """Environment variables that make this the internet of a process."""
        proxy = f"http://127.0.0.1:{self.port}"
        bundle = str(self.authority)
        return {
            **dict.fromkeys(
                ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"), proxy
            ),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), ""),
            **dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"), bundle),
        }

    def direct(self, path: str) -> str:
        """Return the address of a path that needs no proxy; serve a file there before."""
        return f"http://127.0.0.1:{self.port}{path}"

    # arranging

    def serve(
        self,
        url: str,
        body: bytes | Path,
        *faults: Fault,
        etag: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Serve a file at any http or https url; its host is played from then on.

        An `etag` of "" leaves the validators out, and ranges with them.
        """
        order = self._stored(body)
        etag = order.pop("etag") if etag is None else etag
        self._control("serve", url=url, etag=etag, headers=dict(headers or {}), **order)
        if faults:
            self.fault(url, *faults)

    def remove(self, url: str) -> None:
        """Answer 404 at a url from now on."""
        self._control("remove", url=url)

    def fault(self, place: str, *faults: Fault, times: int = 1, **fields: Any) -> None:
        """Queue faults, in order: one for each next request to a url, to urls below one that ends with *, or to a host.

        `fields` are those of one `Fault`; everything is queued `times` times.
        """
        queued = [*faults, *([Fault(**fields)] if fields else [])] * times
        self._control("fault", place=place, faults=[fault.to_json() for fault in queued])

    def play(self, *hosts: str) -> None:
        """Have hosts that serve nothing: every path is 404."""
        self._control("hosts", hosts=list(hosts))

    def reset(self) -> None:
        """Forget files, faults, scenes and the log."""
        self._control("reset")

    def figshare(
        self,
        article: int | str,
        files: Mapping[str, bytes | Path],
        *,
        first_id: int = 1001,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, int]:
        """Publish an article; `fields` overrides what the listing says of a name. Return name -> file id."""
        ids, listed = {}, []
        for file_id, (name, body) in enumerate(files.items(), first_id):
            stored = f"https://s3-eu-west-1.amazonaws.com/pfigshare-u-files/{file_id}/{quote(name)}"
            self.serve(stored, body)
            md5 = _md5(body)
            record = {
                "id": file_id,
                "name": name,
                "size": _size(body),
                "is_link_only": False,
                "download_url": f"https://ndownloader.figshare.com/files/{file_id}",
                "supplied_md5": md5,
                "computed_md5": md5,
                "mimetype": "application/octet-stream",
                "stored": stored,
            }
            listed.append(record | dict((fields or {}).get(name, {})))
            ids[name] = file_id
        self._control("scene", player="figshare", scene={str(article): listed})
        return ids

    def zenodo(
        self,
        record: int | str,
        files: Mapping[str, bytes | Path],
        *,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Publish a record; `fields` overrides what the listing says of a name."""
        listed = []
        for name, body in files.items():
            url = f"https://zenodo.org/api/records/{record}/files/{quote(name)}/content"
            self.serve(url, body)
            entry = {
                "id": str(uuid.uuid5(uuid.NAMESPACE_URL, url)),
                "key": name,
                "size": _size(body),
                "checksum": f"md5:{_md5(body)}",
                "links": {"self": url},
            }
            listed.append(entry | dict((fields or {}).get(name, {})))
        document = {"id": int(record), "recid": str(record), "files": listed, "submitted": True, "status": "published"}
        self._control("scene", player="zenodo", scene={str(record): document})

    def cellxgene(self, collection: str, datasets: Iterable[tuple[str, bytes | Path]]) -> dict[str, str]:
        """Publish a collection of (title, h5ad); titles may repeat. Return title -> url of the last one with it."""
        urls, listed = {}, []
        for number, (title, body) in enumerate(datasets):
            dataset = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{collection}/{number}"))
            version = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{collection}/{number}/{_md5(body)}"))
            url = f"https://datasets.cellxgene.cziscience.com/{version}.h5ad"
            self.serve(url, body)
            assets = [
                {"filesize": _size(body), "filetype": "H5AD", "url": url},
                {"filesize": 7, "filetype": "ATAC_INDEX", "url": url.replace(".h5ad", "-fragment.tsv.bgz.tbi")},
            ]
            listed.append(
                {
                    "dataset_id": dataset,
                    "dataset_version_id": version,
                    "title": title,
                    "assets": assets,
                    "cell_count": 3,
                }
            )
            urls[title] = url
        self.scene("cellxgene", {collection: {"collection_id": collection, "name": "A collection", "datasets": listed}})
        return urls

    def geo(self, series: str, files: Mapping[str, bytes | Path], *, filelist: bool = True) -> None:
        """Publish supplementary files; with `filelist`, filelist.txt names the .tar archives and their sizes."""
        folder = f"https://ftp.ncbi.nlm.nih.gov/geo/series/{series[:-3]}nnn/{series}/suppl/"
        names = list(files)
        for name, body in files.items():
            self.serve(folder + quote(name), body)
        if filelist:
            rows = ["#Archive/File\tName\tTime\tSize\tType"]
            for name, body in files.items():
                if name.endswith(".tar"):
                    rows.append(f"Archive\t{name}\t06/11/2021 10:23:33\t{_size(body)}\tTAR")
                    rows.append("File\tGSM1_member.txt.gz\t06/11/2021 10:20:00\t5\tTXT")
            self.serve(
                f"{folder}filelist.txt", "\n".join(rows).encode() + b"\n", headers={"Content-Type": "text/plain"}
            )
            names.append("filelist.txt")
        self.scene("geo", {series: names})

    def sra(self, study: str, runs: Mapping[str, int]) -> None:
        """Publish a study of run -> spots, one experiment a run."""
        experiments = [
            {
                "uid": str(100 + number),
                "accession": run.replace("SRR", "SRX"),
                "sample": run.replace("SRR", "SRS"),
                "title": f"Sample {number}; Homo sapiens; RNA-Seq",
                "runs": [{"accession": run, "spots": spots}],
            }
            for number, (run, spots) in enumerate(runs.items())
        ]
        self.scene("sra", {study: experiments})

    def gdc(self, files: Iterable[Mapping[str, Any]]) -> None:
        """Publish files: each has `body` and whatever of its hit matters; the rest is made up.

        Keys: `body`, `file_id`, `file_name`, and any field of the hit (`md5sum`, `cases`, ...). `facts` are more fields
        that filters may ask for, `{"data_type": "Gene Expression Quantification"}` say. The bytes are stored once.
        """
        blob = self.folder / f"gdc-{uuid.uuid4().hex}"
        scene, start = {}, 0
        with blob.open("wb") as handle:
            for number, given in enumerate(files):
                fields = {key: value for key, value in given.items() if key not in ("body", "facts")}
                body = given["body"]
                file_id = fields.get("file_id") or str(uuid.uuid5(uuid.NAMESPACE_OID, f"file {number}"))
                hit = _gdc_hit(file_id, number, body) | fields
                facts = {**_GDC_FACTS, **hit, **given.get("facts", {})}
                scene[file_id] = {"hit": hit, "facts": facts, "path": str(blob), "start": start, "size": len(body)}
                handle.write(body)
                start += len(body)
        self.scene("gdc", scene)

    def bucket(
        self, bucket: str, objects: Mapping[str, bytes | Path], *, etags: Mapping[str, str] | None = None
    ) -> None:
        """Store objects that both S3 and Google's storage show, and http://127.0.0.1:PORT/BUCKET/KEY."""
        scene = {}
        for key, body in objects.items():
            scene[f"/{bucket}/{key}"] = self._stored(body) | ({"etag": etags[key]} if etags and key in etags else {})
        self.scene("buckets", scene)

    def scene(self, player: str, scene: Mapping[str, Any]) -> None:
        """Hand a player its data as it wants them; see players.py."""
        self._control("scene", player=player, scene=dict(scene))

    # looking

    def requests(self, place: str = "") -> list[dict[str, Any]]:
        """Return the requests to a url (whatever their query, unless the url has one), a host, or all, in order."""
        host, target = _place(place)
        log = self._control("state", host=host)["log"]
        return [
            entry
            for entry in log
            if not target
            or target in (entry["target"], entry["target"].partition("?")[0])
            or (target.endswith("*") and entry["target"].startswith(target[:-1]))
        ]

    def bytes_sent(self, place: str = "") -> int:
        """Return the bytes of bodies that went out for a url, a host, or all."""
        return sum(entry["bytes_sent"] for entry in self.requests(place))

    def max_parallel(self, host: str) -> int:
        """Return how many requests to a host ran at the same moment, at most."""
        return self._control("state", host="-")["most"].get(host, 0)

    def unknown_hosts(self) -> list[str]:
        """Return hosts that were asked for and are not played."""
        return self._control("state", host="-")["unknown"]

    def faults_left(self) -> int:
        """Return how many queued faults no request met."""
        return self._control("faults_left")

    def memory_kb(self) -> int:
        """Return the most memory the server had."""
        return self._control("state", host="-")["memory_kb"]

    def _control(self, do: str, **order: Any) -> Any:
        body = json.dumps({"do": do, **order})
        try:
            with self._turn:
                self._line.request("POST", "/__control__", body=body, headers={"Host": "127.0.0.1"})
                return json.loads(self._line.getresponse().read())
        except (http.client.HTTPException, OSError) as error:
            raise AssertionError(f"the loopback internet did not obey:\n{self.printed}") from error

    def _stored(self, body: bytes | Path) -> dict[str, Any]:
        """Return where the server finds the bytes."""
        if isinstance(body, Path):
            state = body.stat()
            etag = f'"{state.st_size:x}-{state.st_mtime_ns:x}"'
            return {"path": str(body.resolve()), "start": 0, "size": state.st_size, "etag": etag}
        md5 = _md5(body)
        path = self.folder / f"body-{md5}"
        if not path.exists():
            path.write_bytes(body)
        return {"path": str(path), "start": 0, "size": len(body), "etag": f'"{md5}"'}


_GDC_FACTS = {
    "access": "open",
    "state": "released",
    "data_category": "Transcriptome Profiling",
    "data_type": "Gene Expression Quantification",
    "data_format": "TSV",
    "experimental_strategy": "RNA-Seq",
    "type": "gene_expression",
    "analysis": {"workflow_type": "STAR - Counts"},
}


def _gdc_hit(file_id: str, number: int, body: bytes) -> dict[str, Any]:
    aliquot = f"TCGA-A1-{number:04d}-01A-11R-A000-07"
    sample = {"sample_type": "Primary Tumor", "portions": [{"analytes": [{"aliquots": [{"submitter_id": aliquot}]}]}]}
    case = {
        "case_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"case {number}")),
        "submitter_id": aliquot[:12],
        "primary_site": "Breast",
        "disease_type": "Ductal and Lobular Neoplasms",
        "project": {"project_id": "TCGA-BRCA", "program": {"name": "TCGA"}},
        "samples": [sample],
    }
    return {
        "file_id": file_id,
        "file_name": f"{file_id}.rna_seq.augmented_star_gene_counts.tsv",
        "md5sum": _md5(body),
        "file_size": len(body),
        "state": "released",
        "access": "open",
        "cases": [case],
        "associated_entities": [{"entity_submitter_id": aliquot, "entity_type": "aliquot", "case_id": case["case_id"]}],
    }


def _place(place: str) -> tuple[str, str]:
    if "://" not in place:
        return place.lower(), ""
    parts = urlsplit(place)
    return (parts.hostname or "").lower(), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _size(body: bytes | Path) -> int:
    return body.stat().st_size if isinstance(body, Path) else len(body)


def _md5(body: bytes | Path) -> str:
    if isinstance(body, Path):
        with body.open("rb") as handle:
            return hashlib.file_digest(handle, "md5").hexdigest()
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
