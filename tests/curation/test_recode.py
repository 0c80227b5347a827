"""`python -m curation recode`: a copy in another codec, to a folder or to a bucket, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import zarr
from small_corpus import MEMBERS, build_corpus

import txfm
from curation import shards
from curation.composition import composition
from curation.errors import InputError
from curation.manifests import open_selection
from curation.recode import Codec, recode
from curation.verify import verify_corpus

ROOT = Path(__file__).parents[2]
LZ4 = Codec.named("lz4", None)
N_STORES = 10


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a verb in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "curation", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(*arguments: object) -> tuple[int, str, str]:
    """Run a verb; return exit code, stdout and stderr."""
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def manifest_of(corpus: Path) -> dict[str, Any]:
    return json.loads((corpus / "corpus.json").read_text())


def files_of(corpus: Path) -> dict[str, bytes]:
    """Every file by its path, hidden ones included, links not followed."""
    found = [Path(folder, name) for folder, _, names in os.walk(corpus) for name in names]
    return {str(path.relative_to(corpus)): path.read_bytes() for path in found}


def codecs_of(corpus: Path) -> list[str]:
    return composition(open_selection(corpus))["codec"]


def assert_same_content(copy: Path, source: Path) -> None:
    assert verify_corpus(copy) == []
    assert manifest_of(copy)["digest"] == manifest_of(source)["digest"]
    for entry in manifest_of(source)["stores"]:
        mine, theirs = ad.read_zarr(copy / entry["path"]), ad.read_zarr(source / entry["path"])
        assert (mine.X != theirs.X).nnz == 0 if mine.n_obs else theirs.n_obs == 0
        assert mine.obs.equals(theirs.obs)
        assert mine.var.equals(theirs.var)
        assert mine.uns == theirs.uns


@pytest.fixture(scope="module")
def lz4_copy(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("recoded") / "lz4"
    code, out, err = run("recode", small_corpus, copy)
    assert (code, err) == (0, "")
    assert out.count(".zarr: ") == N_STORES
    return copy


@pytest.mark.filterwarnings("ignore:.*uint16.*")
def test_a_copy_has_the_content_in_the_other_codec(small_corpus: Path, lz4_copy: Path) -> None:
    assert codecs_of(small_corpus) == ["blosc zstd 2, crc32c"]
    assert codecs_of(lz4_copy) == ["blosc lz4 5, crc32c"]
    assert_same_content(lz4_copy, small_corpus)


def test_the_sums_of_the_copy_are_those_of_its_files(lz4_copy: Path, small_corpus: Path) -> None:
    for entry in manifest_of(lz4_copy)["stores"]:
        root = json.loads((lz4_copy / entry["path"] / "zarr.json").read_text())
        for path, known in root["attributes"]["files"].items():
            assert (lz4_copy / entry["path"] / path).stat().st_size == known["bytes"]
        old = json.loads((small_corpus / entry["path"] / "zarr.json").read_text())
        assert old["attributes"].pop("files").keys() == root["attributes"].pop("files").keys()
        assert old == root


def test_both_readers_open_the_copy_and_its_variants(lz4_copy: Path, small_corpus: Path) -> None:
    for variant in MEMBERS:
        members = sorted(zarr.open_group(lz4_copy / "variants" / f"{variant}.zarr", mode="r").keys())
        assert members == sorted(zarr.open_group(small_corpus / "variants" / f"{variant}.zarr", mode="r").keys())
        rows = [
            txfm.open_corpus(corpus, variant, "train", batch_size=64, seed=0) for corpus in (lz4_copy, small_corpus)
        ]
        for mine, theirs in zip(*rows, strict=True):
            assert list(mine.sample_ids) == list(theirs.sample_ids)
            np.testing.assert_array_equal(np.asarray(mine.counts), np.asarray(theirs.counts))


def test_keep_copies_byte_for_byte_and_back_again_gives_the_first(
    small_corpus: Path, lz4_copy: Path, tmp_path: Path
) -> None:
    assert run("recode", small_corpus, tmp_path / "kept", "--codec", "keep")[0] == 0
    assert files_of(tmp_path / "kept") == files_of(small_corpus)
    assert run("recode", lz4_copy, tmp_path / "back", "--codec", "zstd", "--threads", "1")[0] == 0
    assert files_of(tmp_path / "back") == files_of(small_corpus)


def test_one_variant_gives_its_stores_and_its_manifest_only(small_corpus: Path, tmp_path: Path) -> None:
    code, _, err = run("recode", small_corpus, f"file://{tmp_path / 'copy'}", "--variant", "minus_bulk")
    assert (code, err) == (0, "")
    copy = tmp_path / "copy"
    assert verify_corpus(copy) == []
    assert {entry["study"] for entry in manifest_of(copy)["stores"]} == {"breast_cancer", "mine"}
    assert set(manifest_of(copy)["sources"]) == {"breast_cancer", "mine"}
    assert [path.name for path in (copy / "variants").glob("*.json")] == ["minus_bulk.json"]
    assert len(list((copy / "stores").iterdir())) == 4


@pytest.mark.slow
def test_killed_after_any_store_it_goes_on_and_gives_the_undisturbed_copy(
    small_corpus: Path, lz4_copy: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    kept: dict[Path, int] = {}
    for n_lines in (1, 2, 3):
        process = start("recode", small_corpus, copy)
        assert process.stdout is not None
        for _ in range(n_lines):
            process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (copy / "corpus.json").exists()
        for store in (copy / "stores").glob("[!.]*.zarr"):
            # what has its name is whole, and is not made once more
            assert ad.read_zarr(store).uns["curation"]
            assert kept.setdefault(store, store.stat().st_ino) == store.stat().st_ino
    assert 3 <= len(kept) < N_STORES
    code, out, _ = run("recode", small_corpus, copy)
    assert code == 0
    assert out.count(".zarr: ") == N_STORES - len(kept)
    assert files_of(copy) == files_of(lz4_copy)
    assert run("recode", small_corpus, copy)[1].count(".zarr: ") == 0


def test_another_codec_replaces_the_stores_of_an_earlier_copy(
    small_corpus: Path, lz4_copy: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(lz4_copy, copy, symlinks=True)
    assert run("recode", small_corpus, copy, "--codec", "lz4", "--level", "1")[0] == 0
    assert codecs_of(copy) == ["blosc lz4 1, crc32c"]
    assert verify_corpus(copy) == []


@pytest.mark.parametrize("codec", ["lz4", "keep"])
@pytest.mark.parametrize("file", ["X/data/c/0", "X/indptr/zarr.json", "obs/sample_id/c/0", "zarr.json"])
def test_a_flipped_byte_stops_the_copy_with_store_and_file(
    small_corpus: Path, tmp_path: Path, codec: str, file: str
) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(small_corpus, corpus, symlinks=True)
    path = corpus / "stores" / "gtex.plain.train.zarr" / file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        recode(corpus, str(tmp_path / "copy"), codec=Codec.named(codec, None))
    assert "stores/gtex.plain.train.zarr" in str(caught.value)
    assert file in str(caught.value)
    assert not (tmp_path / "copy" / "corpus.json").exists()
    assert not list((tmp_path / "copy").glob("stores/*gtex.plain.train*"))


def test_a_missing_shard_is_named(small_corpus: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    shutil.copytree(small_corpus, corpus, symlinks=True)
    (corpus / "stores" / "gtex.plain.train.zarr" / "X" / "indices" / "c" / "0").unlink()
    code, _, err = run("recode", corpus, tmp_path / "copy")
    assert code == 2
    assert "store stores/gtex.plain.train.zarr, file X/indices/c/0" in err
    assert "found: no such file" in err


def test_counts_that_are_not_those_of_the_digest_stop_the_copy(small_corpus: Path, tmp_path: Path) -> None:
    """Also where every sum was made to fit: as a faulty writer would."""
    from curation.corpus import assemble
    from curation.file_sums import sums_below

    corpus = tmp_path / "corpus"
    shutil.copytree(small_corpus, corpus, symlinks=True)
    store = corpus / "stores" / "gtex.plain.train.zarr"
    zarr.open_array(store / "X" / "data", mode="r+")[5] = 77_777
    zarr.open_group(store, mode="r+").attrs.update({"files": sums_below(store, {})})
    assemble(
        corpus,
        name="small",
        axis_source="toy",
        reports=sorted(small_corpus.parent.glob("*.json")),
        studies={},
        out=corpus / "corpus.json",
    )
    code, _, err = run("recode", corpus, tmp_path / "copy")
    assert code == 2
    assert "store stores/gtex.plain.train.zarr, X/data" in err


def test_shards_are_made_one_by_one_and_hold_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 512 elements, 4 a shard: dozens of shards, as a full corpus has them."""
    monkeypatch.setattr(shards, "CHUNK_ELEMENTS", 512)
    monkeypatch.setattr(shards, "CHUNKS_PER_SHARD", 4)
    monkeypatch.setattr("curation.recode.READ_ELEMENTS", 1_000)
    corpus = build_corpus(tmp_path)
    assert len(list((corpus / "stores" / "breast_cancer.plain.train.zarr" / "X" / "data" / "c").iterdir())) > 10
    for name, codec in (("lz4", LZ4), ("kept", Codec.named("keep", None))):
        recode(corpus, str(tmp_path / name), codec=codec)
        assert verify_corpus(tmp_path / name) == []
    assert files_of(tmp_path / "kept") == files_of(corpus)
    monkeypatch.undo()
    recode(tmp_path / "lz4", str(tmp_path / "standard"), codec=LZ4)
    assert verify_corpus(tmp_path / "standard") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["corpus/inside"], "beside its corpus"),
        (["copy", "--codec", "keep", "--level", "3"], "--level does not go with"),
        (["copy", "--level", "12"], "expected: 1 to 9"),
        (["copy", "--threads", "0"], "where: --threads"),
        (["copy", "--variant", "al"], "did you mean 'all'?"),
        (["s3://bucket"], "a prefix of its own"),
        (["ftp://host/place"], "no place for a corpus"),
        (["taken"], "found: mine.txt"),
    ],
)
def test_what_cannot_be_is_told(small_corpus: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "corpus").symlink_to(small_corpus)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    out, *options = arguments
    code, printed, err = run("recode", small_corpus, out if "://" in out else tmp_path / out, *options)
    assert (code, printed) == (2, "")
    assert err.startswith("error: ")
    assert words in err
    assert not (tmp_path / "copy").exists()


@pytest.mark.network
class TestBucket:
    """The same to a bucket."""

    def test_a_reader_finds_in_the_bucket_what_is_in_the_folder(
        self, small_corpus: Path, lz4_copy: Path, s3_bucket: Any
    ) -> None:
        code, out, err = run("recode", small_corpus, s3_bucket.url)
        assert (code, err) == (0, "")
        assert out.count(".zarr: ") == N_STORES
        there = s3_bucket.sizes()
        links = tuple(f"variants/{variant}.zarr/" for variant in MEMBERS)
        local = {path: len(content) for path, content in files_of(lz4_copy).items() if not path.startswith(links)}
        assert there == local
        remote, here = (
            txfm.open_corpus(place, "all", "train", batch_size=64, seed=0) for place in (s3_bucket.url, lz4_copy)
        )
        for theirs, mine in zip(remote, here, strict=True):
            assert list(mine.sample_ids) == list(theirs.sample_ids)
            np.testing.assert_array_equal(np.asarray(mine.counts), np.asarray(theirs.counts))
        # again: nothing is to be done; in another codec: everything
        assert run("recode", small_corpus, s3_bucket.url)[1].count(".zarr: ") == 0
        assert run("recode", small_corpus, s3_bucket.url, "--codec", "keep")[1].count(".zarr: ") == N_STORES
        kept = {path: len(content) for path, content in files_of(small_corpus).items() if not path.startswith(links)}
        assert s3_bucket.sizes() == kept

    def test_root_metadata_comes_last_in_a_store_and_corpus_json_last_of_all(
        self, small_corpus: Path, s3_bucket: Any
    ) -> None:
        before = len(s3_bucket.server.log.read_text())
        assert run("recode", small_corpus, s3_bucket.url, "--variant", "minus_bulk")[0] == 0
        log = s3_bucket.server.log.read_text()[before:]
        prefix = f"PUT /{s3_bucket.name}/{s3_bucket.prefix}/"
        written = [line.split(prefix)[1].split(" ")[0].split("?")[0] for line in log.splitlines() if prefix in line]
        assert written[-1] == "corpus.json"
        stores = [path for path in written if path.startswith("stores/")]
        by_store: dict[str, list[str]] = {}
        for path in stores:
            _, store, file = path.split("/", 2)
            by_store.setdefault(store, []).append(file)
        assert len(by_store) == 4
        assert all(files[-1] == "zarr.json" and files.count("zarr.json") == 1 for files in by_store.values())

    def test_large_shards_go_in_parts(
        self, small_corpus: Path, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("curation.destination.PART_BYTES", 5 * 2**20)  # the least that S3 allows
        from curation.destination import open_destination

        target = open_destination(s3_bucket.url)
        folder = target.begin_store("stores/a.zarr")
        content = np.random.default_rng(0).bytes(12 * 2**20)
        (folder / "shard").write_bytes(content)
        target.take("stores/a.zarr", folder, "shard")
        assert not (folder / "shard").exists()
        assert target.read("stores/a.zarr/shard") == content
        assert "partNumber=3" in s3_bucket.server.log.read_text()
        target.abandon_store(folder)

    def test_a_server_that_goes_away_leaves_no_corpus_and_a_message(
        self, small_corpus: Path, own_s3_bucket: Any
    ) -> None:
        process = start("recode", small_corpus, own_s3_bucket.url)
        assert process.stdout is not None
        process.stdout.readline()
        there = own_s3_bucket.sizes()
        own_s3_bucket.server.kill()
        _, err = process.communicate(timeout=120)
        assert process.returncode == 2
        assert "Traceback" not in err
        assert "the object store does not answer" in err
        assert "run the same command again" in err
        assert "corpus.json" not in there
        assert any(path.startswith("stores/breast_cancer.plain.train.zarr/") for path in there)

    def test_a_killed_copy_goes_on(self, small_corpus: Path, lz4_copy: Path, s3_bucket: Any) -> None:
        process = start("recode", small_corpus, s3_bucket.url)
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        there = s3_bucket.sizes()
        assert "corpus.json" not in there
        code, out, _ = run("recode", small_corpus, s3_bucket.url)
        assert code == 0
        assert 0 < out.count(".zarr: ") < N_STORES
        assert sum(s3_bucket.sizes().values()) == sum(
            len(content) for path, content in files_of(lz4_copy).items() if ".zarr/" not in path or "stores" in path
        )

    def test_a_bucket_that_is_not_there_is_told(self, small_corpus: Path, s3_bucket: Any) -> None:
        code, _, err = run("recode", small_corpus, "s3://no-such-bucket/corpus")
        assert code == 2
        assert "there is no such bucket" in err


@pytest.mark.parametrize("codec", ["lz4", "keep"])
def test_what_zarr_raises_names_the_store_and_the_file_where_the_sums_agree(
    small_corpus: Path, tmp_path: Path, restate: Callable[..., None], codec: str
) -> None:
    for number, file in enumerate(("X/data/c/0", "X/indptr/zarr.json", "obs/sample_id/zarr.json")):
        corpus = Path(shutil.copytree(small_corpus, tmp_path / str(number), symlinks=True))
        path = corpus / "stores" / "gtex.plain.train.zarr" / file
        path.write_bytes(b"{" + path.read_bytes()[1:-1])
        restate(corpus, "stores/gtex.plain.train.zarr")
        with pytest.raises(InputError, match="cannot be decoded") as caught:
            recode(corpus, str(tmp_path / f"copy_{number}"), codec=Codec.named(codec, None))
        assert f"store stores/gtex.plain.train.zarr, file {file.split('/')[0]}" in str(caught.value)
        assert not list((tmp_path / f"copy_{number}").glob("stores/*gtex.plain.train*"))


def test_a_damaged_table_beside_the_stores_is_not_copied(small_corpus: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(small_corpus, tmp_path / "corpus", symlinks=True))
    (corpus / "genes.parquet").write_bytes(b"PAR1")
    code, _, err = run("recode", corpus, tmp_path / "copy")
    assert code == 2
    assert f"where: {corpus / 'genes.parquet'}" in err
    assert not (tmp_path / "copy").exists()
