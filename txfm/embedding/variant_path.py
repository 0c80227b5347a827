"""Telling the path of a corpus' variant from that of a file, without the corpus reader."""

from pathlib import Path


def variant_of_path(path: Path) -> tuple[str, str] | None:
    """Corpus and name, if a path is that of a variant: CORPUS/variants/NAME.json or .zarr."""
    is_variant = path.suffix in (".json", ".zarr") and path.parent.name == "variants"
    if is_variant and path.with_suffix(".json").is_file():
        return str(path.parent.parent), path.stem
    return None
