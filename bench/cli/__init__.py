"""The command line: ``invbench VERB``. Heavy modules are imported by the verb that needs them, never here."""

from __future__ import annotations

from typing import Any

import click

from invbench.cli.audit import audit
from invbench.cli.check import check
from invbench.cli.datasets import datasets
from invbench.cli.directions import directions
from invbench.cli.doctor import doctor
from invbench.cli.edit_fid import edit_fid
from invbench.cli.export import export
from invbench.cli.gate import baseline, gate
from invbench.cli.interpolate import interpolate
from invbench.cli.listing import list_
from invbench.cli.merge import merge
from invbench.cli.plan import plan
from invbench.cli.reading import compare, report, show, site
from invbench.cli.run import run
from invbench.cli.score import score
from invbench.cli.simulate import simulate
from invbench.cli.study import study
from invbench.cli.suite import suite
from invbench.cli.sweep import sweep
from invbench.cli.table import table
from invbench.cli.weight_changes import weight_changes
from invbench.cli.weights import weights
from invbench.util.errors import CLOSED_PIPE, tell
from invbench.util.memory import keep_freed_memory
from invbench.util.startup import settle
from invbench.util.streams import drop

DEBUG = "invbench.debug"  # where click keeps whether a traceback is wanted


class Verbs(click.Group):
    """A group that turns every exception of a verb into one line and one exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; an exception is printed as one line and ends the process with its exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (Exception, KeyboardInterrupt, SystemExit) as error:  # verbs end by click's Exit: only plug-ins raise SystemExit
            code = tell(error, debug=ctx.meta.get(DEBUG, False))
        if code == CLOSED_PIPE:
            drop(1)
        ctx.exit(code)


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, is_eager=True, callback=_debug, help="Show the traceback of an error."
)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with `invbench run`, then open the page whose path it prints. `invbench VERB --help` shows examples.",
)
@debug_option
@click.version_option(package_name="invbench", prog_name="invbench")
def main() -> None:
    """Benchmark and evaluate StyleGAN inversion and editing.

    \b
    invbench run --methods dhr,pti,sam      invert, edit, measure
    invbench plan --methods dhr,pti,sam     estimate time and memory first
    invbench simulate runs/small            what 1 to 256 devices would take for it
    invbench show runs/latest-procfaces     the verdict and the main columns, in the terminal
    invbench compare runs/full dhr pti      two methods, picture by picture
    invbench report runs/latest-procfaces   the site, with pictures
    invbench site runs/full --out site/     the same of one or several runs, in a folder that stands alone
    invbench table paper:dhr-1              a published table, with a run beside it
    invbench audit --metrics lpips          what all sources print, in one order where they agree
    invbench score FOLDER --against ID      measure pictures made by any code
    invbench study build RUN --methods A,B  pages that ask people which picture is better
    invbench export ID --out FOLDER         write the pictures of a dataset, for other code
    invbench check runs/new                 is every file of a run whole?
    invbench merge RUN RUN --out FOLDER     put runs together: other datasets, methods, machines
    invbench sweep gani-blocks              an ablation or a figure of a paper, beside its printed numbers
    invbench interpolate A.png B.png ...    pictures between two pictures
    invbench weight-changes --methods ID    how much each layer's weights are changed
    invbench edit-fid RUN                   FID of edits, in the forms of two public codes
    invbench gate runs/new --baseline old   fail where a run is worse than another
    invbench list methods --long            methods, metrics, datasets, suites
    invbench datasets prepare NAME          check the files of a dataset
    invbench directions show                edit directions: effect, leakage, pictures of each source
    invbench weights get --suite faces      fetch official weights; the embedded suite needs none
    invbench suite new my.pkl --images DIR  a suite for a generator of your own
    invbench doctor                         what is installed and what is missing

    Exit codes: 0 and 1 as in `invbench VERB --help`; 2 nothing was started; 3 a file could not be written; 70 an
    unforeseen error; 130 interrupted; 141 the output was closed by its reader.
    """
    settle()
    keep_freed_memory()


DONE = "Exit code: 0 done."  # of a verb that gives no answer of its own
SHARED = "Other exit codes: 2 wrong input; 3 a file could not be written; 70 an unforeseen error; 130 interrupted."


def _complete(command: click.Command) -> None:
    """Let ``--debug`` stand behind every verb, too, and every help say what the exit codes mean."""
    debug_option(command)
    if isinstance(command, click.Group):
        for one in command.commands.values():
            _complete(one)
        return
    said = f"{command.help}{command.epilog or ''}"
    lines = [*([] if "Exit code" in said else [DONE]), SHARED]
    command.epilog = "\n\n".join([*filter(None, [command.epilog]), "\b\n" + "\n".join(lines)])


for verb in (
    *(run, plan, simulate, list_, show, compare, report, site, table, audit, score, check, merge, export, gate, baseline),
    *(sweep, interpolate, weight_changes, edit_fid, study, datasets, weights, directions, suite, doctor),
):
    _complete(verb)
    main.add_command(verb)
