"""Exported pictures are those of the dataset, and score finds them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.run.export import export
from invbench.store import Store
from tests.toys import Toys


def test_pictures_are_those_of_the_dataset_and_score_finds_them(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["export", "procfaces-test:3", "--out", str(tmp_path / "inputs")])
    assert done.exit_code == 0 and done.output == f"{tmp_path / 'inputs'}: 3 pictures of procfaces-test\n"
    words = ["score", str(tmp_path / "inputs"), "--against", "procfaces-test:3", "--metrics", "mse@native", "--quiet"]
    done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "scored")])
    assert done.exit_code == 0, done.output
    assert list(Store(tmp_path / "scored").rows()["mse@native"]) == [0.0, 0.0, 0.0]


class Odd(Toys):
    """A dataset whose second picture cannot be read."""

    def read(self, index: int):
        if index == 1:
            raise OSError("no such file")
        return super().read(index)


def test_a_picture_that_cannot_be_read_is_told_and_left_out(tmp_path: Path) -> None:
    dataset, lines = Odd(count=4), []
    assert export(dataset, tmp_path / "out", count=3, say=lines.append) == (2, 1)
    assert lines == ["toy-01: left out: OSError: no such file"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["toy-00.png", "toy-02.png"]
    assert np.array_equal(np.array(Image.open(tmp_path / "out" / "toy-02.png")), dataset.read(2).picture)


@pytest.mark.parametrize("name", ["../a", "/a", "", ".", "a/../b", "a//b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    dataset = Toys(count=2)
    dataset.names[1] = name
    with pytest.raises(InvbenchError, match="expected a name that a file below"):
        export(dataset, tmp_path / "out", count=None, say=print)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InvbenchError, match="expected a new or an empty folder, found files in it"):
        export(Toys(count=1), tmp_path, count=None, say=print)
