"""Charts as inline SVG. Colours are classes of the page's style sheet, so that they follow light and dark."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from vae_simpsons.evaluation.figures import format_number

WIDTH, HEIGHT = 360, 220  # of a line chart, about its size in pixels on a page
LEFT, RIGHT, TOP, BOTTOM = 56, 92, 10, 28  # margins: numbers at the left, names of the lines at the right
COLOURS = 8  # of classes and of runs; the next class is grey, for all that are left
WIDE_SPAN = 50  # largest over smallest value from which an axis is logarithmic
LINE_HEIGHT = 14


class Line(NamedTuple):
    """One curve."""

    name: str | None  # written at its end with the last value; None: neither is
    points: Sequence[tuple[float, float]]
    colour: int
    dashed: bool = False


class Axis(NamedTuple):
    """Maps values to pixels."""

    low: float
    high: float
    start: float  # the pixel of `low`
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Returns the pixel of `value`."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(value) - low) / ((high - low) or 1.0)
        return self.start + share * (self.end - self.start)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def line_chart(name: str, lines: Sequence[Line], x_name: str = "epoch") -> str:
    """Returns curves over `x_name` in one chart, each named at its end; a curve of one point is a dot."""
    lines = [line._replace(points=finite(line.points)) for line in lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    log = min(ys) > 0 and max(ys) / min(ys) > WIDE_SPAN
    x_axis = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    low, high = span(ys, log)
    y_axis = Axis(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [_y_grid(y_axis), _x_numbers(x_axis, x_name)]
    for line in lines:
        style = f"line s{line.colour}" + (" dashed" if line.dashed else "")
        places = [(x_axis.at(x), y_axis.at(y)) for x, y in line.points]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="{style}" points="{points}"/>')
        if len(places) == 1:
            parts.append(f'<circle class="f{line.colour}" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3"/>')
    parts += _end_names(lines, y_axis)
    return _svg(WIDTH, HEIGHT, describe(name, lines, x_name), "".join(parts))


def describe(name: str, lines: Sequence[Line], x_name: str) -> str:
    """Returns a chart in words."""
    said = [
        f"{line.name or 'a curve'} from {number(line.points[0][1])} to {number(line.points[-1][1])}" for line in lines
    ]
    first = min(line.points[0][0] for line in lines)
    last = max(line.points[-1][0] for line in lines)
    return f"{name}: {'; '.join(said)}; {x_name} {number(first)} to {number(last)}"


def bar_chart(name: str, values: Sequence[float], labels: Sequence[str], y_name: str) -> str:
    """Returns bars side by side; each says its label and value where the pointer rests."""
    width, height, left, bottom = 480, 190, 44, 22
    axis = Axis(0.0, max(*values, 1e-12), height - bottom, 8)
    step = (width - left) / len(values)
    parts = [_y_grid(axis, left, width)]
    for i, (value, label) in enumerate(zip(values, labels, strict=True)):
        top = axis.at(max(0.0, value))
        size = f'x="{left + i * step:.2f}" y="{top:.1f}" width="{max(0.8, step * 0.8):.2f}"'
        words = f"<title>{escape(label)}: {number(value)} {escape(y_name)}</title>"
        parts.append(f'<rect class="f0" {size} height="{axis.start - top:.1f}">{words}</rect>')
    for i in sorted({0, len(values) // 2, len(values) - 1}):
        anchor = "end" if i == len(values) - 1 else "middle"
        parts.append(f'<text x="{left + (i + 0.4) * step:.1f}" y="{height - 6}" text-anchor="{anchor}">{i + 1}</text>')
    return _svg(width, height, name, "".join(parts))


def dot(colour: int) -> str:
    """Returns a dot, for a key."""
    circle = f'<circle class="f{colour}" cx="6" cy="6" r="5"/>'
    return f'<svg class="round" viewBox="0 0 12 12" aria-hidden="true">{circle}</svg>'


def swatch(colour: int, dashed: bool = False) -> str:
    """Returns a short piece of a line, for a key."""
    style = f"line s{colour}" + (" dashed" if dashed else "")
    return f'<svg viewBox="0 0 22 12" aria-hidden="true"><line class="{style}" x1="1" y1="7" x2="21" y2="7"/></svg>'


def finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points whose values are numbers."""
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def span(values: Sequence[float], log: bool = False) -> tuple[float, float]:
    """Returns the range of an axis: that of the values and a little more; never empty."""
    low, high = min(values), max(values)
    if log:
        return low / 1.15, high * 1.15
    if low == high:
        room = abs(low) * 0.1 or 1.0
        return low - room, high + room
    room = 0.06 * (high - low)
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def ticks(low: float, high: float, about: int = 4, log: bool = False) -> list[float]:
    """Returns round numbers between `low` and `high`: multiples of 1, 2 or 5 times a power of ten."""
    if log:
        powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        return [10.0**power for power in powers] or [low, high]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def number(value: float, digits: int = 4) -> str:
    """Returns a number of `digits` significant digits, or all of a whole number, with a true minus sign."""
    return format_number(value, digits).replace("-", "−")


def _svg(width: int, height: int, words: str, content: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">{content}</svg>'


def _y_grid(axis: Axis, left: float = LEFT, right: float = WIDTH - RIGHT) -> str:
    parts = []
    for value in ticks(axis.low, axis.high, log=axis.log):
        y = axis.at(value)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    return "".join(parts)


def _x_numbers(axis: Axis, name: str) -> str:
    values = [axis.low] if axis.low == axis.high else [v for v in ticks(axis.low, axis.high) if v == int(v)]
    y = HEIGHT - BOTTOM + 16
    parts = [f'<text x="{axis.at(v):.1f}" y="{y}" text-anchor="middle">{number(v)}</text>' for v in values]
    return "".join(parts) + f'<text x="{axis.end + 8}" y="{y}">{escape(name)}</text>'


def _end_names(lines: Sequence[Line], axis: Axis) -> list[str]:
    """Returns the name and last value of each line at its end, moved apart where they would cover each other."""
    wanted = sorted((axis.at(line.points[-1][1]) + 4, i) for i, line in enumerate(lines) if line.name is not None)
    placed: list[float] = []
    for y, _ in wanted:
        placed.append(max(y, placed[-1] + LINE_HEIGHT) if placed else max(y, TOP + 4))
    excess = max(0.0, max(placed, default=0) - (HEIGHT - BOTTOM + 2))
    parts = []
    for y, (_, i) in zip(placed, wanted, strict=True):
        line = lines[i]
        text = escape(f"{line.name} {number(line.points[-1][1], 3)}".strip())
        parts.append(f'<text class="end f{line.colour}" x="{WIDTH - RIGHT + 5}" y="{y - excess:.1f}">{text}</text>')
    return parts
