"""Pictures that answer the pointer: Vega-Lite, drawn by the page without a network, and the same as files.

vl-convert-python (extra ``report``) brings the JavaScript and draws the files:
docs/decisions/0008-plots-of-the-report.md.
"""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from txfm.report.dot_charts import LONGEST_LABEL
from txfm.report.drawing import Picture, svg_address
from txfm.report.palette import DARK, LIGHT, Theme
from txfm.report.tables import write_frame

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
PNG_SCALE = 2
NOTICE = (
    "Vega, Vega-Lite and Vega-Embed: copyright University of Washington Interactive Data Lab, BSD 3-Clause License, "
    "https://github.com/vega/vega/blob/main/LICENSE; lodash.debounce: copyright JS Foundation, MIT License"
)
EXPOSED = "window.vegaEmbed = vegaEmbed;"  # all that the page's script calls
FONT = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
NOT_INSTALLED = (
    "Plots of trainings and benchmarks are left out: vl-convert-python is not installed (extra report). "
    "Their numbers are in the tables."
)


def is_installed() -> bool:
    """Whether plots can be drawn."""
    return find_spec("vl_convert") is not None


def chart(
    name: str, spec: dict[str, Any], drawn: pd.DataFrame, folder: Path, *, title: str, alt: str, caption: str = ""
) -> list[Picture]:
    """Draw a plot as SVG and PNG, and save what it draws as parquet.

    Parameters
    ----------
    name : str
    spec : dict
        Vega-Lite without data; all of its views draw from `drawn`.
    drawn : pandas.DataFrame
        What the plot shows; infinite values are none.
    folder : Path
        Where the files go.
    title, alt, caption : str

    Returns
    -------
    list of Picture
        The plot; empty where vl-convert-python is not installed.
    """
    if not is_installed():
        return []
    import vl_convert

    values = json.loads(drawn.to_json(orient="records", double_precision=15))
    spec = {"$schema": SCHEMA, "description": alt, "data": {"values": values}} | spec
    folder.mkdir(parents=True, exist_ok=True)
    images = {
        theme.name: svg_address(_numbered_clips(vl_convert.vegalite_to_svg(spec, config=page_config(theme))).encode())
        for theme in (LIGHT, DARK)
    }
    on_paper = page_config(LIGHT) | {"background": LIGHT.ground}
    (folder / f"{name}.svg").write_text(_numbered_clips(vl_convert.vegalite_to_svg(spec, config=on_paper)))
    (folder / f"{name}.png").write_bytes(vl_convert.vegalite_to_png(spec, scale=PNG_SCALE, config=on_paper))
    write_frame(drawn, folder / f"{name}.parquet")
    return [Picture(name=name, title=title, alt=alt, caption=caption, spec=spec, **images)]


def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed for a <script> element, 0.9 MB."""
    import vl_convert

    bundle = vl_convert.javascript_bundle(EXPOSED)
    assert "</script" not in bundle
    return f"/*! {NOTICE} */\n{bundle}"


def page_config(theme: Theme) -> dict[str, Any]:
    """Vega's config for a theme: transparent ground, the page's colours and fonts."""
    labels = {"labelColor": theme.muted, "titleColor": theme.muted, "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": "transparent",
        "font": FONT,
        "concat": {"spacing": 24},
        "facet": {"spacing": 30},
        "axis": labels
        | {
            "domainColor": theme.line,
            "gridColor": theme.line,
            "tickColor": theme.line,
            "labelLimit": LONGEST_LABEL,
            "titleFontWeight": "normal",
            "labelFlush": False,
        },
        "axisY": {"labelColor": theme.text},
        "header": {"labelColor": theme.muted, "titleColor": theme.text, "labelFontSize": 12, "labelLimit": 400},
        "legend": {
            "labelColor": theme.text,
            "titleColor": theme.muted,
            "labelFontSize": 12,
            "labelLimit": LONGEST_LABEL,
            "titleFontWeight": "normal",
        },
        "rule": {"color": theme.muted},
        "title": {"color": theme.text, "anchor": "start", "fontSize": 13, "fontWeight": "bold"},
        "view": {"stroke": None},
    }


def _numbered_clips(image: str) -> str:
    """An SVG whose clip paths are numbered from 0: Vega counts on from picture to picture."""
    numbers: dict[str, str] = {}
    return re.sub(r"\bclip\d+\b", lambda found: numbers.setdefault(found[0], f"clip{len(numbers)}"), image)
