"""Which kind of numbers some samples hold, with the evidence.

Some things cannot be told apart: UMI and read counts overlap, so only depths that no experiment of one kind has speak
for the other; counts that were thinned to one depth are still counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.value_traits import Traits, log_of_integers

# Median total of a sample: deep bulk sequencing stays below 3e8 reads, base-pair coverage sums (recount) lie above
MAX_READS = 3e8
# Coverage sums of 12 real samples: 23-40% of the values below 2,000 are multiples of the read length, 36; chance: 3%
READ_LENGTHS, SMALL_COVERAGE, MULTIPLES_OF_READ_LENGTH = range(25, 301), 2_000, 0.15
# Totals of rounded TPM: 1e6 but for what rounding and genes outside the table take away
TPM_MEDIAN, TPM_LARGEST, TPM_SMALLEST = (0.7e6, 1.01e6), 1.01e6, 0.7
# ... of all genes, so that they agree: 0.01% between the quartiles of simulated ones; reads differ by 15% and more
TPM_SPREAD = 0.05
# Totals of counts scatter by their square root; those of rounded shares of one total by less, if genes are few or deep
NO_CHANCE = 0.3
# ... but so do cells that were thinned to one depth and then lost some genes. Of their values 35-60% are 1 (10,000 and
# 1,000 counts), and where fewer are, more than half of the totals stay the same; of reads per 100,000, rounded, 12% are
THINNED_ONES, THINNED_SAME = 0.2, 0.5
# log2(count + 1) of the largest count of a deep bulk sample (7e6 in gtex_skin) is 23
LARGEST_OF_LOGS = 24.0
# Expected counts of genes without a rival for their reads are whole: 88-91% of the values (zeros not counted) of 30
# real samples of RSEM. A table with few whole numbers is in doubt if it reaches as far as counts do; if it does not,
# or next to none is whole, its values were divided by something. Five digits alone leave 0.13% whole (real cells).
WHOLE_OF_EXPECTED, WHOLE_BY_DIGITS, LARGEST_OF_RESCALED = 0.25, 5e-4, 1_000.0
# Single cells: UMI chemistries end at about 2e5 molecules a cell, and most of their values are 1 to 3
UMI_LARGEST_TOTAL, UMI_LARGEST_MEAN = 1e6, 30.0
# Reads without UMI: amplified molecules are seen many times, so ones are rare and totals large
READS_SMALLEST_TOTAL, READS_LARGEST_ONES = 2e4, 0.5
# Below this many samples or values a distribution proves nothing
FEW_SAMPLES, SOME_SAMPLES, MANY_SAMPLES, MANY_VALUES = 8, 16, 64, 1_000
# Equal totals are no accident in samples with at least this many values
VALUES_OF_A_TOTAL = 10


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What some values look like.

    Attributes
    ----------
    name : str
        umi, reads, expected, smartseq_tpm, coverage, log, scaled, normalised, fractions (without the whole numbers that
        expected counts have); or counts, where umi and reads are alike.
    evidence : str
        What was seen, to follow "values 1, 2, 3 in X".
    sure : bool
        Whether it cannot be anything else; otherwise it is the likeliest.
    """

    name: str
    evidence: str
    sure: bool = True


def detect_kind(traits: Traits) -> Kind:
    """Return the kind of samples of one technology."""
    if not len(traits.samples):
        return Kind(name="counts", evidence="are all 0", sure=False)
    if traits.samples["n_negative"].any():
        return Kind(name="scaled", evidence="are negative, as centred values and log-fold changes are")
    if traits.samples["n_fractions"].any():
        return _kind_of_fractions(traits)
    return _kind_of_integers(traits)


def examples(traits: Traits, kind: Kind) -> str:
    """Return three of the values that show the kind, as text."""
    if kind.name == "scaled":
        shown = np.unique(traits.values)[:3]
    elif len(traits.fractions):
        shown = traits.fractions[:3]
    elif kind.name == "coverage":
        length = _read_length(traits.values) or 1
        shown = np.unique(traits.values[traits.values % length == 0])[:3]
    else:
        shown = traits.values[:3]
    return ", ".join(f"{value:.4g}" for value in shown)


def _kind_of_fractions(traits: Traits) -> Kind:
    samples, fractions = traits.samples, traits.fractions
    n_values, largest = int(samples["n_values"].sum()), float(samples["largest"].max())
    share = samples["n_fractions"].sum() / n_values
    too_small = n_values >= MANY_VALUES and largest < LARGEST_OF_LOGS
    no_whole = n_values >= MANY_VALUES and 1 - share < (
        WHOLE_OF_EXPECTED if largest < LARGEST_OF_RESCALED else WHOLE_BY_DIGITS
    )
    enough = len(samples) >= SOME_SAMPLES or too_small or no_whole
    totals_tell = len(samples) >= 4 and samples["n_values"].median() >= VALUES_OF_A_TOTAL
    if name := log_of_integers(fractions):
        sure = too_small or (len(fractions) >= 4 and len(samples) > 1)
        return Kind(name="log", evidence=f"look like {name}", sure=sure)
    if totals_tell and samples["log_total"].notna().all() and traits.spread("log_total") < 0.01:
        total = samples["log_total"].median()
        return Kind(
            name="log", evidence=f"look like log(x + 1): exp(value) - 1 adds up to {total:,.0f} in every sample"
        )
    if traits.median("log_multiples") > 0.9:
        text = "look like log(factor x count + 1): exp(value) - 1 are 1, 2, 3, ... times the smallest of the sample"
        return Kind(name="log", evidence=text, sure=enough)
    if totals_tell and traits.spread("total") < 0.01:
        return Kind(
            name="normalised", evidence=f"add up to {samples['total'].median():,.0f} in every sample, as TPM and CPM do"
        )
    if traits.median("multiples") > 0.9:
        text = "look like counts divided by the size of their sample: 1, 2, 3, ... times its smallest value"
        return Kind(name="normalised", evidence=text, sure=enough)
    if largest < LARGEST_OF_LOGS:
        text = f"go up to {largest:.4g} only, as in normalised and log-transformed matrices"
        return Kind(name="log", evidence=text, sure=too_small)
    if no_whole:
        text = f"go up to {largest:,.4g}, and {1 - share:.2%} of them are whole numbers; of expected counts, most are"
        return Kind(name="fractions", evidence=f"{text}; values divided by something are not")
    text = f"are fractions, as {share:.0%} of the values are: expected counts (RSEM, Salmon), TPM or normalised values"
    return Kind(name="expected", evidence=text, sure=False)


def _kind_of_integers(traits: Traits) -> Kind:
    samples, n = traits.samples, len(traits.samples)
    totals = samples["total"].to_numpy()
    median = float(np.median(totals))
    length = _read_length(traits.values)
    if median > MAX_READS or length:
        text = f"add up to {median:.2e} in a sample"
        if median > MAX_READS:
            text += ", more than the reads that sequencers give"
        if length:
            text += f", and are multiples of {length} more often than chance allows: counted base by base of each read"
        return Kind(name="coverage", evidence=text)
    low, high = np.percentile(totals, [5, 95])
    ones = float(samples["n_ones"].sum() / samples["n_values"].sum())
    thinned = np.mean(totals == totals.max()) > THINNED_SAME
    if (
        n >= FEW_SAMPLES
        and TPM_MEDIAN[0] <= median <= TPM_MEDIAN[1]
        and high <= TPM_LARGEST
        and low >= TPM_SMALLEST * median
        and traits.spread("total") <= TPM_SPREAD
        and not thinned
    ):
        return Kind(name="smartseq_tpm", evidence=f"add up to {low:,.0f} to {high:,.0f} in a sample, as rounded TPM do")
    if (
        n >= SOME_SAMPLES
        and traits.spread("total") * np.sqrt(median) < NO_CHANCE
        and ones < THINNED_ONES
        and not thinned
    ):
        text = f"add up to {median:,.0f} in a sample, closer to each other than chance leaves counts"
        return Kind(name="normalised", evidence=text)
    mean = median / float(samples["n_values"].median())
    seen = f"a sample has {median:,.0f} counts, {mean:,.1f} a detected gene, and {ones:.0%} of its values are 1"
    if median > UMI_LARGEST_TOTAL and mean > UMI_LARGEST_MEAN:
        return Kind(name="reads", evidence=f"look like reads: {seen}", sure=n >= FEW_SAMPLES)
    if median < READS_SMALLEST_TOTAL and ones > READS_LARGEST_ONES:
        return Kind(name="umi", evidence=f"look like UMI counts: {seen}", sure=n >= MANY_SAMPLES)
    return Kind(name="counts", evidence=f"may be UMI or read counts: {seen}", sure=False)


def _read_length(values: np.ndarray) -> int | None:
    """Return the number of bases of which far too many of the small values are multiples; None where there is none."""
    times = np.bincount(values[values < SMALL_COVERAGE].astype(np.int64), minlength=SMALL_COVERAGE)
    if times.sum() < MANY_VALUES or np.count_nonzero(times) < READ_LENGTHS.start:
        return None
    shares = {length: times[length::length].sum() / times.sum() for length in READ_LENGTHS}
    largest = max(shares.values())
    if largest < MULTIPLES_OF_READ_LENGTH:
        return None
    # the largest, because multiples of 76 are multiples of 38, too
    return max(length for length, share in shares.items() if share > 0.8 * largest)
