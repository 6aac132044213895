"""Say in words what a call of Snakemake would make again, and why: python scripts/why.py TARGET... [--configfile F]."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gluscope.workflow.marks import in_database
from gluscope.workflow.why import PlannedJob, explained, planned
from snakemake.cli import main as snakemake
from snakemake.workflow import Workflow

SNAKEFILE = Path(__file__).resolve().parents[1] / "Snakefile"


def main(arguments: list[str]) -> int:
    """Returns Snakemake's exit status."""
    jobs: list[PlannedJob] = []
    execute = Workflow.execute

    def and_look(self: Workflow, *args: Any, **options: Any) -> Any:
        done = execute(self, *args, **options)
        rules = [rule.name for rule in self.rules]
        found = sorted(self.dag.needrun_jobs(exclude_finished=False), key=lambda job: rules.index(job.rule.name))
        jobs.extend(planned(self.dag, self.persistence, job) for job in found)
        return done

    Workflow.execute = and_look
    first = next((i for i, argument in enumerate(arguments) if argument.startswith("-")), len(arguments))
    # Targets come first, so that no option takes them for its values.
    if "--persistence-backend" not in arguments and in_database():
        arguments = [*arguments, "--persistence-backend", "db"]
    call = [*arguments[:first], "--snakefile", str(SNAKEFILE), "--dry-run", "--cores", "1", *arguments[first:]]
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            snakemake(call)
    except SystemExit as end:
        if end.code:
            print(end.code if isinstance(end.code, str) else said.getvalue(), file=sys.stderr)
            return 1
    # The workflow's own look into the files says what Snakemake has no record of.
    looked = [line for line in said.getvalue().splitlines() if line.endswith("it is made again.")]
    print("\n".join([*explained(jobs), *looked]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
