"""What a gene id is by its spelling alone: an Ensembl id, a date that Excel made of a symbol, a spike-in."""

from __future__ import annotations

import re
from dataclasses import dataclass

MONTHS = (
    *("JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY"),
    *("AUGUST", "SEPTEMBER", "OCTOBER", "NOVEMBER", "DECEMBER"),
)
DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTH = "(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)"
# "2-Sep", "02-Sep", "2-Sep-15", "Sep-02", "2015-09-02 00:00:00"; ".1" or "-1" behind it is what R's and scanpy's
# make-unique functions append to the second of two equal ids
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"^(?P<day>\d{{1,2}})-{_MONTH}(-\d\d|-\d{{4}})?(?P<again>[.-]\d)?$",
        rf"^{_MONTH}-(?P<day>\d{{1,2}})(?P<again>[.-]\d)?$",
        r"^\d{4}[-/](?P<number>\d{1,2})[-/](?P<day>\d{1,2})([ T]00:00(:00)?)?(?P<again>[.-]\d)?$",
    )
)
# "9/2/2015": day and month cannot be told apart
_UNCLEAR_DATE = re.compile(r"^\d{1,2}[./]\d{1,2}[./](\d\d|\d{4})$")
# Excel takes any beginning of a month's name that has three letters or more, so MARC1 and MARCH1 both become 1-Mar
_LIKE_A_DATE = re.compile(r"^([A-Z]{3,9})[- ]?(\d{1,2})$", re.IGNORECASE)

# GENCODE's lists lifted back to GRCh37 append _1, _2 ... to the version
_ENSEMBL = re.compile(r"^(ENSG\d{11})(\.\d+)?(_\d+)?$")
_PAR_Y = re.compile(r"^(ENSG\d{11}[._\d]*_PAR_Y(_\d+)?|ENSGR\d{10}(\.\d+)?)$")
_OTHER_ORGANISM = re.compile(r"^(ENS[A-Z]{3,4}G\d{11}(\.\d+)?|FBgn\d{7}|WBGene\d{8})$")
_SPIKE_IN = re.compile(r"^(.*_)?(ERCC[-_.]\d{5}([._-].*)?|SIRV[1-7](\d\d)?|phiX(174)?)$", re.IGNORECASE)
_NOT_A_GENE = re.compile(r"^(__\w+|N_(unmapped|multimapping|noFeature|ambiguous))$")
_TRANSGENE = re.compile(
    r"^(e?GFP|e?YFP|e?CFP|e?BFP|tagBFP|mCherry|tdTomato|DsRed|mKate2?|mNeonGreen|mScarlet|luciferase|d?Cas9.*|rtTA|tTA"
    r"|PuroR|BlastR|NeoR|CreERT2?)$",
    re.IGNORECASE,
)
_NO_NAME = frozenset({"", "na", "nan", "none", "null", "-", "."})
# "C1ORF112" for C1orf112. Nothing wider: folding case would take a mouse table (Xkr4, Sox17) for a human one.
_ORF = re.compile(r"^C(\d+|X|Y)ORF(\d+.*)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ExcelDate:
    """A date in place of a symbol; month 0 where the spelling does not tell day from month.

    `again` is True for the second of two equal dates that some tool has made unique ("1-Mar.1").
    """

    month: int
    day: int
    again: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Month and day."""
        return self.month, self.day


def ensembl_id(gene: str) -> str | None:
    """Return a human Ensembl gene id without its version; None for anything else, PAR_Y copies included."""
    found = _ENSEMBL.match(gene)
    return found[1] if found else None


def is_par_y(gene: str) -> bool:
    """Return whether this is the copy on Y of a gene of the pseudoautosomal regions."""
    return _PAR_Y.match(gene) is not None


def is_of_other_organism(gene: str) -> bool:
    """Return whether this is an Ensembl gene id of another organism, or one of FlyBase or WormBase."""
    return _OTHER_ORGANISM.match(gene) is not None


def is_spike_in(gene: str) -> bool:
    """Return whether this is a spiked-in transcript: ERCC-00002, SIRV, phiX; not the genes ERCC1 to ERCC8."""
    return _SPIKE_IN.match(gene) is not None


def is_not_a_gene(gene: str) -> bool:
    """Return whether this row counts reads without a gene: STAR's N_*, HTSeq's __no_feature."""
    return _NOT_A_GENE.match(gene) is not None


def is_transgene(gene: str) -> bool:
    """Return whether this is a reporter, nuclease or resistance gene that was put into the cells."""
    return _TRANSGENE.match(gene) is not None


def is_no_name(gene: str) -> bool:
    """Return whether the field is empty, or a program's word for empty."""
    return gene.lower() in _NO_NAME


def orf_symbol(gene: str) -> str | None:
    """Return the official spelling of an open reading frame (C1orf112), None for any other symbol."""
    found = _ORF.match(gene)
    return f"C{found[1].upper()}orf{found[2]}" if found else None


def excel_date(gene: str) -> ExcelDate | None:
    """Return the date that a spreadsheet made of a symbol, None for any other text."""
    for pattern in _DATES:
        if found := pattern.match(gene):
            groups = found.groupdict()
            month = int(groups["number"]) if "number" in groups else _month(groups["month"])
            return _valid(month, int(groups["day"]), again=groups["again"] is not None)
    return ExcelDate(month=0, day=0) if _UNCLEAR_DATE.match(gene) else None


def date_of_symbol(symbol: str) -> tuple[int, int] | None:
    """Return the (month, day) that Excel makes of a symbol (SEPT2 -> 2 September), None if it leaves it alone."""
    found = _LIKE_A_DATE.match(symbol)
    if not found or not (month := _month(found[1])):
        return None
    date = _valid(month, int(found[2]))
    return date.key if date.month else None


def _month(word: str) -> int:
    """Return 1 to 12 for the beginning of a month's name, else 0."""
    return next((i for i, name in enumerate(MONTHS, start=1) if name.startswith(word.upper())), 0)


def _valid(month: int, day: int, *, again: bool = False) -> ExcelDate:
    exists = 1 <= month <= len(MONTHS) and 1 <= day <= DAYS[month - 1]
    return ExcelDate(month=month if exists else 0, day=day, again=again)
