"""What is printed: a line a reader, and how ours stands to the bars."""

from __future__ import annotations

import statistics

from corpus_reading.passes import Pass


def spread(values: list[float], form: str = ",.0f") -> str:
    """Return median (range)."""
    if not values:
        return "-"
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def print_table(found: dict[str, dict[str, list[Pass]]]) -> None:
    """Print a line a reader."""
    titles = "reader", "samples/s cold", "warm", "per CPU s", "first batch s, cold", "warm", "with imports"
    titles = (*titles, "MB", "MB read, cold", "others' cores")
    print(f"| {' | '.join(titles)} |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for title, passes in found.items():
        cold, warm = passes["cold"], passes["warm"]
        ceiling = not cold
        cells = [spread([taken.rate for taken in cold]), spread([taken.rate for taken in warm])]
        cells.append(f"{statistics.median(taken.n_samples / taken.cpu_s for taken in warm):,.0f}")
        cells += [""] * 5 if ceiling else [
            spread([taken.first_batch_s for taken in cold], ".2f"),
            spread([taken.first_batch_s for taken in warm], ".2f"),
            spread([taken.imports_s + taken.first_batch_s for taken in warm], ".2f"),
            f"{max(taken.memory for taken in cold + warm) / 1e6:,.0f}",
            f"{statistics.median(taken.device_bytes for taken in cold) / 1e6:,.0f}",
        ]  # fmt: skip
        cells.append(f"{statistics.mean(taken.others_cores for taken in cold + warm):.2f}")
        print(f"| {title} | " + " | ".join(cells) + " |")


def print_bars(found: dict[str, dict[str, list[Pass]]], profile: str) -> None:
    """Print how ours stands to the bars; ratios are medians of the ratios within a round."""

    def rates(title: str, state: str) -> list[float]:
        return [taken.rate for taken in found.get(title, {}).get(state, [])]

    def per_cpu(title: str) -> float:
        return statistics.median(taken.n_samples / taken.cpu_s for taken in found[title]["warm"])

    bounds = {
        name: [
            1 / (1 / decode + 1 / gather)
            for decode, gather in zip(
                rates("decode alone, 2 threads", "warm"), rates(f"{name} alone, 2 threads", "warm"), strict=True
            )
        ]
        for name in ("gather", "csr_rows")
        if f"{name} alone, 2 threads" in found and "decode alone, 2 threads" in found
    }
    floor = {"sc": 50_000, "bulk": 3_000}[profile]
    for title in (title for title in found if title.startswith("ours")):
        for rival in (title for title in found if title.startswith("annbatch")):
            ratios = {
                state: [ours / its for ours, its in zip(rates(title, state), rates(rival, state), strict=True)]
                for state in ("cold", "warm")
            }
            print(
                f"{title}: {spread(ratios['cold'], '.2f')}x {rival} cold, {spread(ratios['warm'], '.2f')}x warm, "
                f"{per_cpu(title) / per_cpu(rival):.2f}x in CPU seconds (bar 1.5, aim 2)"
            )
        for name, bound in bounds.items():
            share = {
                state: spread([rate / its for rate, its in zip(rates(title, state), bound, strict=True)], ".0%")
                for state in ("cold", "warm")
            }
            print(
                f"{title}: {share['cold']} cold, {share['warm']} warm, of decode + {name} on two cores, "
                f"{statistics.median(bound):,.0f}/s (bar 70%)"
            )
        first = spread([taken.first_batch_s for taken in found[title]["cold"]], ".2f")
        print(
            f"{title}: {spread(rates(title, 'cold'))} samples/s cold (bar {floor:,}), first batch {first} s (bar 0.7)"
        )
