"""What names of genes look like: human ids, dates that Excel made, other organisms."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from txfm.vocabulary import Vocabulary

# A version is ".<digits>" and nothing else: ENSG00000002586.20_PAR_Y is the Y copy, never merged into its X twin.
HUMAN_ID = re.compile(r"^(ENSG\d{11})(?:\.\d+)?$", re.IGNORECASE)
# Chromosome open reading frames are the only human symbols with small letters. Others in small letters are another
# animal's: Sox17
OPEN_READING_FRAME = re.compile(r"^C(\d+|X|Y)ORF(\d+)$", re.IGNORECASE)
MONTH = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
EXCEL_DATE = re.compile(
    rf"^(\d{{1,2}}-({MONTH})|({MONTH})-\d{{2}}|\d{{4}}-\d{{2}}-\d{{2}}( 00:00:00)?)$", re.IGNORECASE
)
Y_COPY = re.compile(r"_PAR_Y$|^ENSGR\d{10}")
ORGANISM_OF_PREFIX: Mapping[str, str] = {
    "ENSMUSG": "mouse",
    "ENSRNOG": "rat",
    "ENSDARG": "zebrafish",
    "ENSMMUG": "rhesus macaque",
    "ENSMFAG": "crab-eating macaque",
    "ENSSSCG": "pig",
    "FBgn": "fruit fly",
    "WBGene": "worm",
}
OTHER_ENSEMBL_ID = re.compile(r"^(ENS[A-Z]{3,4}G(?=\d{11})|FBgn(?=\d{7})|WBGene(?=\d{8}))\d+(\.\d+)?$")
CAPITALISED, SMALL = re.compile(r"^[A-Z][a-z]"), re.compile(r"^[a-z][a-z0-9]")
WITH_ENTREZ_ID = re.compile(r"^([^|]+)\|\d+$")  # A1BG|1
MOST, SOME = 0.5, 0.1  # shares of the names
NOT_OF_THE_MODEL = "not a gene of the model"
ADVICE_ON_ORGANISM = (
    "the model knows human genes: map the genes to their human one-to-one orthologues first (Ensembl BioMart), and "
    "write their Ensembl ids into a column of var"
)


@dataclass(frozen=True, eq=False)
class KnownGenes:
    """The names that a vocabulary's genes go by: Ensembl ids, and symbols that only one of its genes has or had."""

    vocabulary: Vocabulary

    @cached_property
    def positions(self) -> dict[str, int]:
        """Name to vocabulary position; a symbol of today goes before a previous one."""
        vocabulary = self.vocabulary
        previous = {name: i for i, names in enumerate(vocabulary.previous_symbols) for name in names}
        known = {name: i for name, i in previous.items() if name not in self._uses}
        known |= {symbol: i for i, symbol in enumerate(vocabulary.symbols) if symbol and self._uses[symbol] == 1}
        return known | {ensembl_id: i for i, ensembl_id in enumerate(vocabulary.ensembl_ids)}

    @cached_property
    def _uses(self) -> Counter[str]:
        return Counter(self.vocabulary.symbols)

    def position(self, name: str) -> int:
        """Vocabulary position of a gene, -1 = none.

        Ensembl ids may have a version, C1ORF112 is C1orf112, A1BG|1 of legacy TCGA is A1BG, and HLA.A, which R makes of
        HLA-A, is HLA-A unless the vocabulary has a gene HLA.A.
        """
        name = _normal_form(name)
        found = self.positions.get(name, -1)
        return self.positions.get(name.replace(".", "-"), -1) if found < 0 and "." in name else found

    def count(self, names: Sequence[str]) -> int:
        """How many of some names are genes of the vocabulary."""
        return sum(self.position(name) >= 0 for name in names)

    def reason_of_miss(self, name: str) -> str:
        """Why a name that has no position has none."""
        if Y_COPY.search(name):
            return "copy on chromosome Y of a gene on X"
        if EXCEL_DATE.match(name):
            return "a date that Excel made of a symbol"
        if self._uses[name] > 1:
            return "symbol of several genes of the model: pass Ensembl ids"
        if prefix := OTHER_ENSEMBL_ID.match(name):
            return f"gene of another organism ({ORGANISM_OF_PREFIX.get(prefix.group(1), prefix.group(1))})"
        if name.upper() in self.positions:
            return "a human symbol only in capital letters: mouse genes are written so"
        return NOT_OF_THE_MODEL

    def other_organism(self, names: Sequence[str]) -> str | None:
        """What the names look like, if most of them are another organism's; None for human or unknown names.

        Symbols count as mouse or rat if they are capitalised (Actb), as zebrafish if they are in small letters, and if
        enough of them are human symbols once they are in capital letters: other capitalised words are no genes.
        """
        prefixes = Counter(match.group(1) for name in names if (match := OTHER_ENSEMBL_ID.match(name)))
        if prefixes and prefixes.total() > MOST * len(names):
            prefix, number = prefixes.most_common(1)[0]
            organism = ORGANISM_OF_PREFIX.get(prefix, "another animal")
            return f"{organism} ({number:,} of {len(names):,} names are {prefix}...)"
        for form, organism in ((CAPITALISED, "mouse or rat"), (SMALL, "zebrafish, or human symbols in small letters")):
            of_form = [name for name in names if form.match(name) and self.position(name) < 0]
            in_capitals = [name for name in of_form if name.upper() in self.positions]
            enough = SOME * min(len(names), len(self.vocabulary))
            if len(of_form) > MOST * len(names) and len(in_capitals) > enough:
                return f"{organism} ({len(of_form):,} of {len(names):,} names are written like {in_capitals[0]})"
        return None


def _normal_form(name: str) -> str:
    if human := HUMAN_ID.match(name):
        return human.group(1).upper()
    if frame := OPEN_READING_FRAME.match(name):
        return f"C{frame.group(1).upper()}orf{frame.group(2)}"
    if with_entrez_id := WITH_ENTREZ_ID.match(name):
        return with_entrez_id.group(1)
    return name
