"""Why a job would run, in words: for which key of the config, which file, or which version of a stage."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gluscope.stages.made import in_words
from gluscope.stages.table import STAGES

_SHOWN = 3  # names in a list of files
_LINES = 8  # of what a start makes again


@dataclass(frozen=True)
class PlannedJob:
    """A job that would run, as Snakemake plans it.

    rule: its name. owner: the run or data set that it is for, "run mine". before, now: values of its params that are
    others than when its files were made; `before` are texts of Python values without names, as Snakemake keeps them.
    missing: outputs that are not there. newer: inputs that are newer than its outputs. come, gone: inputs that it has
    now, and that it had. follows: it reads what another job writes. forced: a call asked for it, or a look into the
    files did. rest: what else Snakemake says.
    """

    rule: str
    owner: str = ""
    before: Sequence[str] = ()
    now: Mapping[str, Any] = field(default_factory=dict)
    missing: Sequence[str] = ()
    newer: Sequence[str] = ()
    come: Sequence[str] = ()
    gone: Sequence[str] = ()
    follows: bool = False
    forced: bool = False
    rest: str = ""


def planned(dag: Any, records: Any, job: Any) -> PlannedJob:
    """What Snakemake's plan says of a job that would run. dag, records: the workflow's, `records` its persistence."""
    reason = dag.reason(job)
    wildcards = dict(job.wildcards_dict)
    kind = next((kind for kind in ("run", "dataset") if kind in wildcards), None)
    changed = reason.params_changed
    recorded = {file for output in job.output for file in records.input(output) or ()}
    # Snakemake compares the names of inputs as it has written them down.
    inputs = set(records._input(job)) if reason.input_changed else set()
    what = dict(job.params.items()) if changed else {}
    return PlannedJob(
        rule=job.rule.name,
        owner=f"{'data set' if kind == 'dataset' else kind} {wildcards[kind]}" if kind else "",
        before=sorted(changed.only_old) if changed else (),
        now={name: value for name, value in what.items() if repr(value) in changed.only_new},
        missing=[str(file) for file in reason.missing_output],
        newer=[str(file) for file in reason.updated_input],
        come=sorted(inputs - recorded) if inputs else (),
        gone=sorted(recorded - inputs) if inputs else (),
        follows=bool(reason.updated_input_run),
        forced=bool(reason.forced),
        rest=" ".join(str(reason).split()),
    )


def again(dag: Any, records: Any) -> list[str]:
    """Lines for what a start makes again for a reason of its own, though it is there."""
    found: Counter[tuple[str, str]] = Counter()
    for job in dag.needrun_jobs():
        reason = dag.reason(job)
        is_new = reason.missing_output or reason.forced or reason.noio
        if not is_new and (why := reasons(planned(dag, records, job))):
            found[job.rule.name, "; ".join(why)] += 1
    return [f"{_times(rule, count)} again: {why}." for (rule, why), count in found.most_common(_LINES)]


def explained(jobs: Iterable[PlannedJob]) -> list[str]:
    """Lines that say which jobs run for a reason of their own, with it, and how many follow from them."""
    own: Counter[tuple[str, str]] = Counter()
    following: Counter[str] = Counter()
    for job in jobs:
        if job.rule == "all":
            continue
        if why := reasons(job):
            own[job.rule, "; ".join(why)] += 1
        else:
            following[job.rule] += 1
    if not own and not following:
        return ["Nothing would run: what is there was made with these keys, files and versions."]
    total = own.total() + following.total()
    lines = [f"{total} job{'s' if total > 1 else ''} would run."]
    lines += [f"{_times(rule, count)}: {why}." for (rule, why), count in own.items()]
    if following:
        lines.append(f"What they write is read by: {', '.join(_times(*one) for one in following.items())}.")
    return lines


def reasons(job: PlannedJob) -> list[str]:
    """Why a job would run, apart from jobs before it. Empty for one that only follows from others."""
    if job.missing:
        return [] if job.follows else [f"{_files(job.missing)} {'is' if len(job.missing) == 1 else 'are'} not there"]
    why = _params(job)
    if job.newer:
        why.append(f"{_files(job.newer)} {'is' if len(job.newer) == 1 else 'are'} newer than what was made from it")
    if job.come:
        why.append(f"it also reads {_files(job.come)}")
    if job.gone:
        why.append(f"it no longer reads {_files(job.gone)}")
    if job.forced:
        why.append("a file that it made has gone or is not what is asked for now, or it was asked for")
    return why or ([] if job.follows or not job.rest else [job.rest])


def _params(job: PlannedJob) -> list[str]:
    before = [_value(text) for text in job.before]
    versions = [value for value in before if _is_version(value)]
    dicts = [value for value in before if isinstance(value, dict) and not _is_version(value)]
    why = []
    for name, now in job.now.items():
        if name == "version":
            why += _versions(versions[0] if versions else {}, now)
        elif isinstance(now, dict):
            old = next((value for value in dicts if value.keys() & now.keys()), None)
            why += [] if old is None else _keys(old, now, job.owner)
            if old is None:
                why.append(f"{name} are others")
        else:
            why.append(_OTHERS.get(name, f"{name} is {now!r}"))
    return list(dict.fromkeys(why))


_OTHERS = {
    "rows": "the texts or tokens of its shard are others",
    "files": "the model's, tokenizer's or texts' files have other names, sizes or dates",
    "neurons": "the listed neurons are others",
    "unlisted": "pages beside the listed ones have come or gone",
}


def _is_version(value: Any) -> bool:
    """Versions are text; some keys of the config have a stage's name."""
    known = isinstance(value, dict) and bool(value) and value.keys() <= STAGES.keys()
    return known and all(isinstance(version, str) for version in value.values())


def _versions(old: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    if not old:
        return ["it was made before stages had versions"]
    why = []
    for stage, version in now.items():
        number, was = version.split()[0], old.get(stage, "none").split()[0]
        if number != was:
            why.append(f"{in_words(stage)} is here, and it was made by {'none' if was == 'none' else 'version ' + was}")
        elif version != old.get(stage):
            why.append(f"the code of {stage} was edited, which counts with `every_edit`")
    return why


def _keys(old: Mapping[str, Any], now: Mapping[str, Any], owner: str) -> list[str]:
    why = []
    for key in [*now, *(key for key in old if key not in now)]:
        if old.get(key) != now.get(key) or (key in old) != (key in now):
            if key == "stages":
                why += _versions(old.get(key) or {}, now.get(key) or {})
            elif key == "neurons":
                why.append(_OTHERS["neurons"])
            else:
                was = f"was {old[key]!r}" if key in old else "did not count"
                why.append(f"`{key}` of {owner} is {now[key]!r}, {was}" if key in now else f"`{key}` counts no more")
    return why


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _files(names: Sequence[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _times(rule: str, count: int) -> str:
    return rule if count == 1 else f"{rule} ({count} jobs)"
