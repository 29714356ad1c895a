"""The FFHQ crop: its geometry by construction, its steps against a second implementation, and a real face through the CLI."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import gaussian_filter

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.datasets.align import FaceCrop

UPRIGHT = np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 60.0], [42.0, 74.0], [58.0, 74.0]])


def wave(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([127 + 120 * np.sin(x / 9), 127 + 120 * np.cos(y / 7), (x + y) % 256], -1).astype(np.uint8)


def test_the_square_of_an_upright_face():
    corners = FaceCrop(256).corners(UPRIGHT)
    half = max(2 * 20, 1.8 * 24)
    centre = np.array([50, 50 + 0.1 * 24])
    assert np.allclose(corners, centre + half * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]))


@pytest.mark.parametrize("degrees", [-70, 15, 90, 180])
def test_the_square_turns_grows_and_moves_with_the_face(degrees):
    angle = np.deg2rad(degrees)
    matrix = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = FaceCrop(256).corners(UPRIGHT @ matrix.T + [3, -8])
    assert np.allclose(moved, FaceCrop(256).corners(UPRIGHT) @ matrix.T + [3, -8])


def test_points_without_a_square_are_told():
    with pytest.raises(InvbenchError, match="expected the eyes above the mouth"):
        FaceCrop(64).corners(np.zeros((5, 2)))
    with pytest.raises(InvbenchError, match="expected five finite"):
        FaceCrop(64).corners(np.full((5, 2), np.nan))
    far = FaceCrop(64).corners(UPRIGHT + 5000)
    with pytest.raises(InvbenchError, match="outside of the picture"):
        FaceCrop(64).cut(wave(100, 100), far)


def test_a_square_on_whole_pixels_within_the_picture_is_cut_without_change():
    picture = np.repeat(np.repeat(wave(40, 40), 8, axis=0), 8, axis=1)
    corners = np.array([[64, 96], [64, 224], [192, 224], [192, 96]]) - 0.5
    found = FaceCrop(128).cut(picture, corners)
    difference = np.abs(found.astype(int) - picture[96:224, 64:192])
    inner = np.ones((128, 128), bool)
    for edge in range(0, 128, 8):  # blocks of one colour: only the pixels beside their borders may mix
        inner[max(edge - 3, 0) : edge + 3] = inner[:, max(edge - 3, 0) : edge + 3] = False
    assert difference[inner].max() <= 2


def reference(picture: np.ndarray, quad: np.ndarray, size: int) -> np.ndarray:
    """The published steps once more, for each pixel of the padded picture in float64 and sampled by SciPy instead of Pillow."""
    from scipy.ndimage import map_coordinates

    side = np.hypot(*(quad[3] - quad[0]))
    border = max(int(np.rint(side * 0.1)), 3)
    height, width = picture.shape[:2]
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    left, top = max(low[0] - border, 0), max(low[1] - border, 0)
    right, bottom = min(high[0] + border, width), min(high[1] + border, height)
    part, quad = picture[top:bottom, left:right], quad - [left, top]
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    reach = [-low[0], -low[1], high[0] - part.shape[1], high[1] - part.shape[0]]
    if max(max(value + border, 0) for value in reach) > border - 4:
        sides = [max(value + border, 0, int(np.rint(side * 0.3))) for value in reach]
        levels = np.pad(part.astype(np.float64), ((sides[1], sides[3]), (sides[0], sides[2]), (0, 0)), "reflect")
        distance = np.full(levels.shape[:2], -np.inf)
        for axis, (before, after) in enumerate(((sides[1], sides[3]), (sides[0], sides[2]))):
            place = np.arange(levels.shape[axis])
            fraction = 1 - np.minimum(place / before, (levels.shape[axis] - 1 - place) / after)
            distance = np.maximum(distance, fraction[:, None] if axis == 0 else fraction[None])
        outside = distance[..., None]
        soft = gaussian_filter(levels, (side * 0.02, side * 0.02, 0))
        levels += (soft - levels) * np.clip(3 * outside + 1, 0, 1)
        levels += (np.median(levels, axis=(0, 1)) - levels) * np.clip(outside, 0, 1)
        part, quad = np.rint(levels).clip(0, 255), quad + [sides[0], sides[1]]
    large = 4 * size
    along = (np.arange(large) + 0.5) / large
    x = quad[0] + along[None, :, None] * (quad[3] - quad[0]) + along[:, None, None] * (quad[1] - quad[0])
    places = x.transpose(2, 0, 1)[::-1]
    sampled = np.stack([map_coordinates(part[..., c].astype(float), places, order=1, mode="nearest") for c in range(3)], -1)
    image = Image.fromarray(sampled.round().clip(0, 255).astype(np.uint8))
    return np.array(image.resize((size, size), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("shift", [(0, 0), (-60, -40), (70, 30)])
def test_the_crop_agrees_with_a_second_implementation(shift):
    picture = wave(220, 200)
    corners = FaceCrop(64).corners(UPRIGHT @ np.array([[0.98, 0.17], [-0.17, 0.98]]) * 0.8 + [50, 40] + np.array(shift))
    found, expected = FaceCrop(64).cut(picture, corners), reference(picture, corners, 64)
    difference = np.abs(found.astype(int) - expected)
    assert difference.mean() < 1.0 and np.quantile(difference, 0.99) <= 8


def test_a_large_face_is_reduced_first_and_stays_where_the_tool_puts_it():
    small = wave(300, 260)
    large = np.array(Image.fromarray(small).resize((260 * 8, 300 * 8), Image.Resampling.BICUBIC))
    points = UPRIGHT + [60, 70]
    a = FaceCrop(32).cut(small, FaceCrop(32).corners(points))
    corners = FaceCrop(32).corners(points * 8 + 3.5)
    shrink = int(np.hypot(*(corners[3] - corners[0])) / 32 * 0.5)
    assert shrink == 10
    b = FaceCrop(32).cut(large, corners - (shrink - 1) / 2)  # the tool divides the places of pixels, not of their corners
    assert np.abs(a.astype(int) - b).mean() < 2


@pytest.fixture(scope="module")
def aligned(tmp_path_factory):
    """scikit-image's astronaut twice (as she is, and turned, in a larger photograph), a landscape and a broken file."""
    from skimage import data

    root = tmp_path_factory.mktemp("align")
    source, target = root / "photos", root / "aligned"
    source.mkdir()
    face = Image.fromarray(data.astronaut())
    face.save(source / "astronaut.png")
    scene = Image.new("RGB", (900, 700), (90, 120, 90))
    scene.paste(face.resize((400, 400), Image.Resampling.LANCZOS).rotate(25, fillcolor=(90, 120, 90)), (300, 200))
    scene.save(source / "turned <b>.jpg", quality=95)
    Image.fromarray(wave(200, 300)).save(source / "waves.png")
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    words = ["datasets", "align", str(source), str(target), "--size", "256", "--device", "cpu", "--quiet"]
    return target, CliRunner().invoke(main, words), words


def test_faces_are_found_cut_and_the_rest_is_listed(aligned):
    target, done, _ = aligned
    assert done.exit_code == 1 and "2 of 4 aligned, 1 without a face, 1 failed" in done.output, done.output
    rows = {row["file"]: row for row in csv.DictReader((target / "align.csv").open())}
    assert {file: row["status"] for file, row in rows.items()} == {
        "astronaut.png": "ok",
        "broken.jpg": "failed",
        "turned <b>.jpg": "ok",
        "waves.png": "no face",
    }
    assert float(rows["astronaut.png"]["scale"]) > 1 and "faces are smaller than 256 pixels" in done.output
    assert (target / "no_face.txt").read_text() == "waves.png\n"
    assert sorted(path.name for path in target.glob("*.png")) == sorted(f"{rows[f]['name']}.png" for f in list(rows)[::2])


def test_the_aligned_face_is_upright_and_where_ffhqs_faces_are(aligned):
    from invbench.metrics.nets.face_detector import FaceDetector

    target, _, _ = aligned
    detector = FaceDetector()
    pictures = np.stack([np.array(Image.open(path)) for path in sorted(target.glob("*.png"))])
    assert pictures.shape == (2, 256, 256, 3)
    for found in detector.landmarks(pictures):
        left, right, _, *mouth = found.points[0]
        across, centre = right - left, (left + right) / 2
        assert abs(np.rad2deg(np.arctan2(across[1], across[0]))) < 6
        assert abs(centre[0] - 128) < 10 and 100 < centre[1] < 130  # eyes at about 0.45 of the height
        assert 50 < np.hypot(*across) < 70 and 160 < np.mean(mouth, axis=0)[1] < 195


def test_the_contact_sheet_shows_everything_and_escapes_names(aligned):
    target, _, _ = aligned
    page = (target / "contact_sheet.html").read_text()
    assert page.count("<figure") == 4 and page.count("data:image/jpeg") == 3 and "2 of 4 pictures aligned" in page
    assert "turned &lt;b&gt;.jpg" in page and "turned <b>" not in page
    assert page.index("waves.png") < page.index("astronaut.png")  # what needs a look comes first


def test_a_folder_of_something_else_is_left_alone(aligned, tmp_path):
    _, _, words = aligned
    (tmp_path / "thesis.txt").write_text("years of work")
    done = CliRunner().invoke(main, [*words[:3], str(tmp_path), *words[4:]])
    assert done.exit_code == 2 and "found files and no align.csv" in done.output
