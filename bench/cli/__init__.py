"""The command line: ``invbench VERB``. Heavy modules are imported by the verb that needs them, never here."""

from __future__ import annotations

import errno
from typing import Any

import click

from invbench.api import InvbenchError, printable
from invbench.cli.datasets import datasets
from invbench.cli.doctor import doctor
from invbench.cli.gate import baseline, gate
from invbench.cli.listing import list_
from invbench.cli.plan import plan
from invbench.cli.reading import report, show
from invbench.cli.run import run
from invbench.cli.score import score
from invbench.cli.table import table
from invbench.cli.weights import weights
from invbench.util.files import WriteFailed
from invbench.util.memory import keep_freed_memory
from invbench.util.startup import settle

SETUP_ERROR, DISK_ERROR = 2, 3
LONGEST_PATH = 200  # characters of a path in a message


class Verbs(click.Group):
    """A group that turns errors a user can act on into one message and exit code 2, those of a disk into one and 3."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InvbenchError as error:
            click.echo(f"invbench: error: {error}", err=True)
            ctx.exit(DISK_ERROR if isinstance(error, WriteFailed) else SETUP_ERROR)
        except OSError as error:  # a full or read-only disk, a name that is too long, ...
            if error.errno in (None, errno.EPIPE):
                raise  # no answer of a disk; click ends a closed pipe
            where = printable(error.filename or "a file")
            shown = where if len(where) <= LONGEST_PATH else f"{where[:LONGEST_PATH]}... ({len(where)} characters)"
            click.echo(f"invbench: error: {shown}: {error.strerror}", err=True)
            ctx.exit(DISK_ERROR)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with `invbench run`, then open the page whose path it prints. `invbench VERB --help` shows examples.",
)
@click.version_option(package_name="invbench", prog_name="invbench")
def main() -> None:
    """Benchmark and evaluate StyleGAN inversion and editing.

    \b
    invbench run --methods dhr,pti,sam      invert, edit, measure
    invbench plan --methods dhr,pti,sam     what that would take
    invbench show runs/latest-procfaces     the tables, in the terminal
    invbench report runs/latest-procfaces   the page, with pictures
    invbench table paper:dhr-1              a published table, with a run beside it
    invbench score FOLDER --against ID      pictures made by any code, measured likewise
    invbench gate runs/new --baseline old   fail where a run is worse than another
    invbench list methods --long            what there is
    invbench datasets prepare NAME          check the files of a dataset
    invbench weights get --suite faces      official files, for suites other than the embedded one
    invbench doctor                         what is installed and what is missing
    """
    settle()
    keep_freed_memory()


for verb in (run, plan, list_, show, report, table, score, gate, baseline, datasets, weights, doctor):
    main.add_command(verb)
