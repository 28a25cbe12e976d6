"""The part of the page that Dash draws: three charts.

Owns their places, names and controls; what they show is built in the browser
(``assets/figures.js``). Must not read anything.
"""

from __future__ import annotations

from typing import Any

from dash import dcc, html

CHARTS = ("strikes", "curve", "history")
_CONFIG: Any = {
    "displaylogo": False,
    "doubleClick": False,  # the page itself resets, so that the view follows the market again
    "modeBarButtons": [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "toImage"]],
    "plotlyServerURL": "",
    "showSendToCloud": False,
    "showTips": False,
}
_EMPTY = {"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}}


def layout() -> html.Div:
    """The charts, empty."""
    return html.Div(
        [
            _chart(
                "strikes",
                "Gamma exposure by strike",
                {"call": "calls", "put": "puts", "net": "net"},
                "$ of delta per 1 % move, all expirations",
            ),
            _chart(
                "curve",
                "Net gamma exposure if spot moved",
                {},
                "$ per 1 % move; the chain re-priced, each strike at its present volatility",
            ),
            _chart(
                "history",
                "The day",
                {"spot": "spot", "flip": "zero gamma", "net": "net GEX"},
                "New York time; where nothing is drawn, nothing was published",
            ),
        ],
        id="charts",
    )


def _chart(name: str, title: str, keys: dict[str, str], aside: str) -> html.Section:
    heading = f"{name}-title"
    named: dict[str, Any] = {"aria-labelledby": heading}
    legend = [html.Span(label, className=f"key key-{kind}") for kind, label in keys.items()]
    return html.Section(
        [
            html.Header(
                [
                    html.H2(title, id=heading),
                    html.Span(legend, className="keys"),
                    html.Span(aside, className="aside"),
                    html.Button(
                        "reset zoom",
                        id=f"{name}-reset",
                        className="reset",
                        hidden=True,
                        title="Follow the market again (a double click does it too)",
                    ),
                ]
            ),
            html.P(id=f"{name}-note", className="note", role="status", hidden=True),
            dcc.Graph(id=name, figure=_EMPTY, config=_CONFIG, responsive=True, className="chart"),
            html.P(id=f"{name}-words", className="unseen"),
        ],
        className=f"panel panel-{name}",
        **named,
    )
