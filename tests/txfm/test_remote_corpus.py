"""A corpus that is read where it lies: a web server and an S3 server on loopback, and the cache of their chunks."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.__main__ import main
from txfm.corpus import Batch, as_anndata, open_corpus
from txfm.corpus.store_files import DamagedStoreError
from txfm.errors import InputError


class Server(ThreadingHTTPServer):
    """Serves a folder, ranges too, and notes what was asked of which shard."""

    def __init__(self, folder: Path) -> None:
        self.ranges: list[tuple[str, int, int]] = []
        self.change = lambda path, content: content
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = self.server.change(path, path.read_bytes())
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop = (int(wanted[1]), min(int(wanted[2]) + 1, len(content))) if wanted else (0, len(content))
        if wanted:
            self.server.ranges.append((path.name, start, stop))
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Last-Modified", "Mon, 05 Jan 2026 10:00:00 GMT")
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start:stop])

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(small_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(small_corpus) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def same(a: Batch, b: Batch) -> bool:
    fields = ("indptr", "positions", "counts", "study_index")
    return a.sample_ids == b.sample_ids and all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields)


def batches(corpus: str | Path, **options: Any) -> list[Batch]:
    return list(open_corpus(corpus, "all", "train", batch_size=50, seed=1, **options))


def test_a_web_servers_corpus_gives_the_batches_of_the_folder(server: Server, small_corpus: Path) -> None:
    local, remote = batches(small_corpus), batches(server.url)
    assert all(same(a, b) for a, b in zip(local, remote, strict=True))
    assert server.ranges
    ours, theirs = (open_corpus(place, "all", "validation") for place in (small_corpus, server.url))
    assert ours.obs().equals(theirs.obs())
    assert sum(map(len, theirs)) == theirs.n_samples > 0


def test_zarrs_library_reads_the_web_server_as_well(server: Server, small_corpus: Path) -> None:
    assert all(same(a, b) for a, b in zip(batches(small_corpus), batches(server.url, plain=True), strict=True))


def test_what_was_read_once_is_not_asked_for_again(server: Server, small_corpus: Path, tmp_path: Path) -> None:
    local = batches(small_corpus)
    for _ in range(2):
        assert all(same(a, b) for a, b in zip(local, batches(server.url, cache=tmp_path / "c"), strict=True))
        asked, server.ranges = server.ranges, []
    assert not asked, "the second stream reads shards from the cache alone"


def test_holes_and_damage_in_the_cache_are_fetched_again(server: Server, small_corpus: Path, tmp_path: Path) -> None:
    local = batches(small_corpus)
    batches(server.url, cache=tmp_path)
    rng = np.random.default_rng(0)
    for file in tmp_path.iterdir():
        content = bytearray(file.read_bytes())
        place = int(rng.integers(len(content)))
        content[place : place + 8] = bytes(len(content[place : place + 8]))
        file.write_bytes(content if rng.random() < 0.7 else content[: len(content) // 2])
    server.ranges = []
    assert all(same(a, b) for a, b in zip(local, batches(server.url, cache=tmp_path), strict=True))
    assert server.ranges
    server.ranges = []
    batches(server.url, cache=tmp_path)
    assert not server.ranges


def test_the_cache_stays_below_its_limit_and_the_stream_goes_on(
    server: Server, small_corpus: Path, tmp_path: Path
) -> None:
    found = batches(server.url, cache=tmp_path, cache_bytes=20_000)
    assert all(same(a, b) for a, b in zip(batches(small_corpus), found, strict=True))
    taken = [path.stat().st_blocks * 512 for path in tmp_path.iterdir()]  # of sparse files, in pages of 4 kB
    assert 0 < sum(taken) <= 20_000 + 2 * 4096 * len(taken)


def test_bytes_that_a_server_changed_stop_the_stream_and_never_enter_the_cache(server: Server, tmp_path: Path) -> None:
    def change(path: Path, content: bytes) -> bytes:
        return content[:10] + b"\xff" + content[11:] if path.parts[-3:-1] == ("data", "c") else content

    server.change = change
    with pytest.raises(DamagedStoreError, match=r"(?s)http://127.0.0.1.*X/data/c/0.*CRC-32C"):
        batches(server.url, cache=tmp_path)
    server.change = lambda path, content: content
    assert batches(server.url, cache=tmp_path)


def test_a_server_that_is_gone_and_a_variant_that_is_not_there_are_told(small_corpus: Path, server: Server) -> None:
    with pytest.raises(InputError, match="no variant 'al'"):
        open_corpus(server.url, "al", "train")
    with pytest.raises(InputError, match="address is not known"):
        open_corpus("ftp://host/corpus", "all", "train")


def test_an_s3_servers_corpus_gives_the_batches_of_the_folder(
    s3_bucket: Any, small_corpus: Path, tmp_path: Path
) -> None:
    assert main(["recode", str(small_corpus), s3_bucket.url, "--codec", "keep"]) == 0
    local = batches(small_corpus)
    for options in ({}, {"cache": tmp_path}, {"cache": tmp_path}, {"plain": True}):
        assert all(same(a, b) for a, b in zip(local, batches(s3_bucket.url, **options), strict=True))
    store = "stores/gtex.plain.train.zarr"
    here, there = as_anndata(small_corpus / store, lazy=False), as_anndata(f"{s3_bucket.url}/{store}")
    rows = [7, 3, 20]
    np.testing.assert_array_equal(here.X[rows].toarray(), there[rows].to_memory().X.toarray())
    with pytest.raises(InputError, match="did you mean 'minus_bulk'"):
        open_corpus(s3_bucket.url, "minus_bulks", "train")


def test_the_state_of_a_remote_stream_goes_on_in_the_folder(server: Server, small_corpus: Path) -> None:
    remote = open_corpus(server.url, "all", "train", batch_size=50, seed=1)
    stream = iter(remote)
    next(stream), next(stream)
    here = open_corpus(small_corpus, "all", "train", batch_size=50, seed=1)
    here.load_state_dict(remote.state_dict())
    assert all(same(a, b) for a, b in zip(here, batches(small_corpus)[2:], strict=True))
