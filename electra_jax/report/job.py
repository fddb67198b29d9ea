"""Writing the page about runs: by the command, and at the end of a run."""

from argparse import Namespace

from etils import epath

from electra_jax.config.fields import Settings
from electra_jax.core import files
from electra_jax.core.complaints import counted
from electra_jax.core.errors import DataError, first_line
from electra_jax.report import page, reference
from electra_jax.runtime import terminal
from electra_jax.train import runs

FILE = 'report.html'  # in the workdir


def run(request: Namespace) -> None:
    """Writes the page that a command line asks for; see `__main__`."""
    found = runs.find(request.workdir)
    if request.save_reference:
        left_out = reference.write(request.save_reference, found)
        terminal.OUT.print(f'reference: {request.save_reference}, of {counted(len(found), "runs")}')
        if left_out:
            terminal.OUT.print(
                f'note: without {", ".join(left_out)}: each run must have two points of a curve, '
                'at steps that all share'
            )
        return
    output = write(
        found, request.reference, request.output or files.absolute(request.workdir[0]) / FILE
    )
    size = len(output.read_bytes()) / 1000
    terminal.OUT.print(f'report: {output} ({size:,.0f} kB; {counted(len(found), "runs")})')


def write(
    found: list[runs.Run], reference_file: str | None, output: str | epath.Path
) -> epath.Path:
    """Writes the page about runs.

    `reference_file` holds curves to compare with; None: those that the first run names, if any.

    Raises:
        DataError: that file, config.json or results.json holds something else.
    """
    named = reference_file or found[0].setting('log.reference')
    normal = reference.read(named) if named else reference.NOTHING
    place = files.absolute(output)
    in_workdir = len(found) == 1 and place.parent == files.absolute(found[0].folder)
    try:
        text = page.page(found, normal, in_workdir)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        folders = ', '.join(str(one.folder) for one in found)
        raise DataError(
            f'config.json or results.json in {folders} holds something else than runs write '
            f'({error!r:.100}); of a copy of the folder without that file a page can be made'
        ) from error
    place.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(place, text)
    return place


def check(settings: Settings) -> None:
    """Refuses a file of reference curves that cannot be read, before a run begins."""
    if settings.log.reference is not None:
        reference.read(settings.log.reference)


def at_end(folder: epath.Path) -> str:
    """Writes the page of a run that ends; the line about it for the terminal, whatever happens."""
    try:
        output = write([runs.read(folder)], None, folder / FILE)
    except Exception as error:  # no OSError, of a bucket; the run itself has ended well
        return f'warning: no {FILE}: {first_line(error)}'
    return f'report: {output}'
