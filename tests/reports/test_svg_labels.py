"""Names in a plot: none on another, on another point or outside; those of the front first; the others are told on hovering."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from invbench.reports import svg, svg_labels

WITHIN = svg_labels.Box(52, 0, 540, 290)


def box(name, text):
    """The rectangle that a name takes."""
    left = name.x - svg_labels.LETTER * len(text) if name.ends else name.x
    return left, name.y - 4 - svg_labels.HEIGHT / 2, left + svg_labels.LETTER * len(text), name.y - 4 + svg_labels.HEIGHT / 2


def overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 1e-6 and min(a[3], b[3]) - max(a[1], b[1]) > 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_names_lie_on_nothing_and_within(seed):
    draw = random.Random(seed)
    spots = [(draw.uniform(52, 424), draw.uniform(10, 280), "x" * draw.randint(1, 25)) for _ in range(40)]
    placed = svg_labels.place(spots, range(4), WITHIN)
    boxes = {index: box(name, spots[index][2]) for index, name in enumerate(placed) if name is not None}
    assert 0 < len(boxes) < 40
    for index, one in boxes.items():
        assert one[0] >= 52 and one[2] <= 540 and one[1] >= 0 and one[3] <= 290
        assert not any(overlap(one, other) for key, other in boxes.items() if key != index)
        assert not any(overlap(one, (x - 4, y - 4, x + 4, y + 4)) for key, (x, y, _) in enumerate(spots) if key != index)


def test_a_name_stands_right_of_its_point_and_moves_only_where_there_is_no_room():
    spots = [(100, 100, "first"), (300, 50, "alone"), (530, 200, "edge"), (115, 100, "other"), (85, 100, "other")]
    first, alone, edge, *_ = svg_labels.place(spots, [0], WITHIN)
    assert alone == (308, 54, False) and edge == (522, 204, True)
    assert first is not None and first.y != 104  # on both sides lie others
    crowd = [(200, 100 + y, "n" * 9) for y in range(0, 24, 3)]
    names = svg_labels.place(crowd, [], WITHIN)
    assert None in names and svg_labels.place(crowd, range(8), WITHIN).count(None) < names.count(None)  # these look further


def test_points_without_a_name_are_counted_and_told_on_hovering():
    points = [svg.Point(f"a long name {i}", 1 + i / 50, 20 + i / 50) for i in range(20)]
    plot = svg.pareto(points, better="higher", title="PSNR")
    shown = plot.count('<text class="name')
    assert 0 < shown < 20 and f"({shown} of 20 named; point at the others)" in plot
    assert all(f"<title>a long name {i}: " in plot for i in range(20))
    few = svg.pareto(points[::10], better="higher", title="PSNR")
    assert "named" not in few and few.count('<text class="name') == 2


@pytest.mark.parametrize("lowest", [10.0, -0.004])
def test_numbers_of_the_two_axes_do_not_touch_in_the_corner_of_a_narrow_plot(lowest):
    points = [svg.Point("fast", 0.0012, lowest), svg.Point("slow", 12.0, 10 * abs(lowest))]
    plot = svg.pareto(points, better="higher", title="PSNR")
    found = re.findall(r'<text class="tick (end|middle)" x="([\d.]+)" y="([\d.]+)">([^<]+)<', plot)
    boxes = []
    for anchor, x, y, text in found:
        right = float(x) + svg_labels.LETTER * len(text) * (0 if anchor == "end" else 0.5)
        middle = float(y) - 4
        left = right - svg_labels.LETTER * len(text)
        boxes.append(svg_labels.Box(left, middle - svg_labels.HEIGHT / 2, right, middle + svg_labels.HEIGHT / 2))
    assert {"0.001", "10", "seconds an image (log)"} <= {text for *_, text in found}
    assert not [(one, other) for one, other in itertools.combinations(boxes, 2) if one.meets(other)]
    assert all(box.bottom <= svg.HEIGHT for box in boxes)
