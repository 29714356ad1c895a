"""The suite of the class-conditional generator: SAM over z and class by the command line, and what is refused there."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from invbench.cli import main
from invbench.methods.train.invertibility import KINDS
from invbench.plugins import config, registry, selection
from invbench.store import Store

RUN = ["run", "--suite", "procclasses", "--datasets", "procfaces-test-ood:2", "--in-process"]


def test_sam_runs_end_to_end(tmp_path: Path) -> None:
    words = ["--methods", "z_class,sam+z_class", "--edits", "age:2", "--metrics", "mse,age_change"]
    steps = ["z_class.steps=12", "sam.steps=8", "sam.lambda_prior=1e-8"]
    out = tmp_path / "run"
    done = CliRunner().invoke(main, [*RUN, *words, *(word for step in steps for word in ("--set", step)), "--out", str(out)])
    assert done.exit_code == 0, done.output
    rows = Store(out).rows()
    assert set(rows["status"]) == {"ok"} and len(rows) == 2 * 2 * 2
    errors = rows[rows["edit"].fillna("") == ""].groupby("method")["mse@native"].mean()
    assert errors["sam+z_class"] < errors["z_class"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("e4e", "suite procclasses does not run e4e: its generator has latents in Z or Z+, and e4e works in W+"),
        ("sam", "suite procclasses does not run sam: its generator has latents in Z or Z+, and e4e works in W+"),
        ("pti+z_class", "pti starts from latents in W or W+, and z_class gives Z"),
    ],
)
def test_a_pair_that_cannot_be_is_refused_with_the_reason(name: str, reason: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [*RUN, "--methods", name, "--out", str(tmp_path / "run")])
    assert done.exit_code == 2 and reason in " ".join(f"{done.output} {done.exception}".split())
    assert not (tmp_path / "run").exists()


def test_the_suite_names_what_it_uses() -> None:
    suite, known = config.load()["procclasses"], registry.discover([])
    assert selection.supported(suite, known.methods) == ["z_class"]
    chosen = selection.settings(suite, known, device="cpu", seed=0)
    assert [one.id for one in chosen.methods] == ["z_class", "sam+z_class"]
    spaces = tuple(chosen.methods[1].options["spaces"])
    assert spaces == KINDS["classes"].features  # the predictor is trained for them, under the same prior
    assert chosen.methods[1].options["lambda_prior"] == KINDS["classes"].lambda_prior
    assert spaces == ("F0", "F2") and chosen.methods[1].options["embedder.steps"] == 200
