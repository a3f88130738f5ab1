"""What `check` found -> JSON, text, and one self-contained HTML page."""

import csv
import html
import io
import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.problems import SEVERITIES, Problem
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.video.facts import Facts

SHOWN = 3
"""So many problems of a kind are shown on the console."""
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid #ddd; padding: .3em .6em;
text-align: left; vertical-align: top } td:first-child { white-space: nowrap } code { overflow-wrap: anywhere }
.error { color: #b00020 } .warning { color: #8a5a00 } .info { color: #3a5a7a } img { height: 72px; margin-right: 2px }
"""


def as_json(found: Annotations, problems: list[Problem]) -> dict[str, Any]:
    """The whole result for a program."""
    return {
        "data": str(found.root),
        "layout": found.layout,
        "num_classes": len(found.glosses),
        "glosses": list(found.glosses),
        "clips": len(found.samples),
        "splits": {split: len(found.split(split)) for split in SPLITS},
        "problems": [problem.as_dict() for problem in problems],
        "summary": dict(Counter(problem.kind for problem in problems)),
    }


def as_text(found: Annotations, problems: list[Problem]) -> str:
    """A summary for a person: each kind with its count and first cases."""
    lines = [found.summary(), *found.notes]
    by_kind = itertools.groupby(problems, key=lambda problem: (problem.severity, problem.kind))
    for (severity, kind), group in by_kind:
        cases = list(group)
        lines.append(f"{severity}: {kind} ({len(cases)})")
        lines += [f"    {_short(case.path, found.folder)}: {case.detail} -> {case.action}" for case in cases[:SHOWN]]
        if len(cases) > SHOWN:
            lines.append(f"    ... and {len(cases) - SHOWN} more")
    counts = Counter(problem.severity for problem in problems)
    total = ", ".join(f"{counts[severity]} {severity}" for severity in SEVERITIES)
    lines.append(f"problems: {total}" if problems else "no problem found")
    return "\n".join(lines)


def as_html(found: Annotations, problems: list[Problem], pictures: Mapping[str, list[str]]) -> str:
    """One page without anything outside of it.

    Args:
        found: The annotations.
        problems: What is wrong.
        pictures: JPEG pictures as base64 by video.
    """
    rows = []
    for problem in problems:
        shown = "".join(
            f'<img alt="" src="data:image/jpeg;base64,{picture}">' for picture in pictures.get(problem.path, [])
        )
        cells = (
            f'<span class="{problem.severity}">{problem.severity}</span>',
            html.escape(problem.kind),
            f"<code>{html.escape(_short(problem.path, found.folder))}</code><br>{shown}",
            html.escape(problem.detail),
            html.escape(problem.action),
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    summary = Counter((problem.severity, problem.kind) for problem in problems)
    kinds = "".join(
        f'<tr><td class="{severity}">{severity}</td><td>{html.escape(kind)}</td><td>{count}</td></tr>'
        for (severity, kind), count in summary.items()
    )
    notes = "".join(f"<p>{html.escape(line)}</p>" for line in (found.summary(), *found.notes))
    head = "".join(f"<th>{name}</th>" for name in ("severity", "kind", "where", "what", "what to do"))
    title = html.escape(f"Data check of {found.root}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1>{notes}<h2>Summary</h2><table>{kinds or '<tr><td>no problem found</td></tr>'}</table>"
        f"<h2>Problems</h2><table><tr>{head}</tr>{''.join(rows)}</table></body></html>\n"
    )


def facts_csv(facts: Mapping[Path, Facts]) -> str:
    """What is known of every video, a line each."""
    buffer = io.StringIO()
    if facts:
        names = list(next(iter(facts.values())).as_dict())
        writer = csv.writer(buffer)
        writer.writerow(["path", *names])
        writer.writerows([str(video), *known.as_dict().values()] for video, known in sorted(facts.items()))
    return buffer.getvalue()


def _short(path: str, folder: Path) -> str:
    return str(Path(path).relative_to(folder)) if Path(path) != folder and Path(path).is_relative_to(folder) else path
