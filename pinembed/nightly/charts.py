"""Trends as inline SVG: a line with its 95 % band over the generations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pinembed.reports.refresh import MetricRow

WIDTH_PX, HEIGHT_PX = 340, 120
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 6, 6, 10, 20


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One figure over the generations.

    Attributes:
        title: for people.
        points: ascending by generation.
    """

    title: str
    points: tuple[MetricRow, ...]

    @property
    def last(self) -> MetricRow:
        return self.points[-1]

    @property
    def svg(self) -> Markup:
        """The drawing; numbers stand beside it in the page."""
        return draw(self.title, self.points)


def draw(title: str, points: Sequence[MetricRow]) -> Markup:
    """A polyline, its band where every point has an interval, and a dot with a word for each point."""
    lows = [point.value if point.low is None else point.low for point in points]
    highs = [point.value if point.high is None else point.high for point in points]
    low, high = min(lows), max(highs)
    if all(point.low is None for point in points):
        low = min(low, 0.0)  # counts and times from nought on, so that 1 % does not look like a leap
    margin = (high - low) * 0.1 or max(abs(high) * 0.1, 0.01)
    low, high = low - (margin if low else 0.0), high + margin

    def x_px(index: int) -> float:
        inner_px = WIDTH_PX - LEFT_PX - RIGHT_PX
        return LEFT_PX + (inner_px / 2 if len(points) == 1 else inner_px * index / (len(points) - 1))

    def y_px(value: float) -> float:
        return TOP_PX + (HEIGHT_PX - TOP_PX - BOTTOM_PX) * (high - value) / (high - low)

    places = [(x_px(index), y_px(point.value)) for index, point in enumerate(points)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    upper = [f"{x_px(index):.1f},{y_px(value):.1f}" for index, value in enumerate(highs)]
    lower = [f"{x_px(index):.1f},{y_px(value):.1f}" for index, value in enumerate(lows)]
    has_band = all(point.low is not None for point in points) and len(points) > 1
    band = f'<polygon class="band" points="{" ".join([*upper, *reversed(lower)])}"/>' if has_band else ""
    bars = "" if has_band else "".join(_bar(x_px(index), point, y_px) for index, point in enumerate(points))
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{_told(point)}</title></circle>'
        for (x, y), point in zip(places, points, strict=True)
    )
    ends = [points[0], points[-1]] if len(points) > 1 else [points[0]]
    anchors = ["start", "end"] if len(points) > 1 else ["middle"]
    edges = [LEFT_PX, WIDTH_PX - RIGHT_PX] if len(points) > 1 else [WIDTH_PX / 2]
    words = "".join(
        f'<text x="{edge}" y="{HEIGHT_PX - 5}" text-anchor="{anchor}">{point.generation}</text>'
        for point, anchor, edge in zip(ends, anchors, edges, strict=True)
    )
    shape = f'<polyline points="{line}"/>' if len(points) > 1 else ""
    return Markup(
        f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img" aria-label="{escape(title)}">'
        f"{band}{bars}{shape}{dots}{words}</svg>"
    )


def _bar(x: float, point: MetricRow, y_px: object) -> str:
    if point.low is None or point.high is None or not callable(y_px):
        return ""
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y_px(point.low):.1f}" y2="{y_px(point.high):.1f}"/>'


def _told(point: MetricRow) -> str:
    interval = "" if point.low is None or point.high is None else f" ({point.low:.4g} to {point.high:.4g})"
    return str(escape(f"generation {point.generation}: {point.value:.4g}{interval}"))
