"""Shows the problems of a data set as JSON, as text, and as one self-contained HTML page."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from lscht_ray.dataset.annotations import Annotations
from lscht_ray.dataset.problems import SEVERITIES, Problem
from lscht_ray.dataset.rows import SPLITS
from lscht_ray.shown import counted, shown
from lscht_ray.video.facts import Facts

SHOWN = 3
"""Problems of one kind that are shown on the console."""
PAGE = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid #ddd; padding: .3em .6em;
text-align: left; vertical-align: top } td:first-child { white-space: nowrap } code { overflow-wrap: anywhere }
.error { color: #b00020 } .warning { color: #8a5a00 } .info { color: #3a5a7a } img { height: 72px; margin-right: 2px }
h1, p, td { overflow-wrap: anywhere } .text { white-space: pre-wrap }
@media (max-width: 48em) { body { margin: 1em auto } h1 { font-size: 1.3em } .problems th { display: none }
.problems, .problems tbody, .problems tr, .problems td { display: block; border: 0; padding: .1em 0 }
.problems tr { border-bottom: 1px solid #ddd; padding: .6em 0 } }
</style></head>
<body>
<h1>{{ title }}</h1>
{% for line in lines %}
<p class="text">{{ line }}</p>
{% endfor %}
<h2>Summary</h2>
<table>
{% for (severity, kind), count in counts.items() %}
<tr><td class="{{ severity }}">{{ severity }}</td><td>{{ kind }}</td><td>{{ count }}</td></tr>
{% else %}
<tr><td>no problem found</td></tr>
{% endfor %}
</table>
{% if rows %}
<h2>Problems</h2>
<table class="problems">
<tr><th>severity</th><th>kind</th><th>where</th><th>what</th><th>what to do</th></tr>
{% for problem, place, pictures in rows %}
<tr><td><span class="{{ problem.severity }}">{{ problem.severity }}</span></td><td>{{ problem.kind }}</td>
<td><code>{{ place }}</code>{% if pictures %}<br>{% endif %}
{% for picture in pictures -%}
<img alt="" src="data:image/jpeg;base64,{{ picture }}">
{%- endfor %}
</td><td class="text">{{ problem.detail }}</td><td class="text">{{ problem.action }}</td></tr>
{% endfor %}
</table>
{% endif %}
</body>
</html>
"""
"""jinja2; every value is escaped (autoescape)."""


def as_json(annotated: Annotations, problems: list[Problem]) -> dict[str, Any]:
    """The whole result, for a program to read."""
    return {
        "data": str(annotated.root),
        "layout": annotated.layout,
        "num_classes": len(annotated.glosses),
        "glosses": list(annotated.glosses),
        "clips": len(annotated.samples),
        "splits": {split: len(annotated.split(split)) for split in SPLITS},
        "problems": [problem.as_dict() for problem in problems],
        "summary": dict(Counter(problem.kind for problem in problems)),
    }


def as_text(annotated: Annotations, problems: list[Problem]) -> str:
    """A summary for a person: each kind of problem with its count and its first cases."""
    said = [problem.detail for problem in problems if problem.detail]  # a note that is a problem, too, is said once
    notes = (note for note in annotated.notes if not any(detail in note for detail in said))
    lines = [annotated.summary(), *notes]
    by_kind = itertools.groupby(problems, key=lambda problem: (problem.severity, problem.kind))
    for (severity, kind), group in by_kind:
        cases = list(group)
        lines.append(f"{severity}: {kind} ({len(cases)})")
        lines += [
            f"    {_short(case.path, annotated.folder)}: {case.detail} -> {case.action}" for case in cases[:SHOWN]
        ]
        if len(cases) > SHOWN:
            lines.append(f"    ... and {len(cases) - SHOWN} more")
    counts = Counter(problem.severity for problem in problems)
    total = ", ".join(counted(counts[severity], severity) for severity in SEVERITIES)
    lines.append(f"problems: {total}" if problems else "no problem found")
    return "\n".join(lines)


def as_html(annotated: Annotations, problems: list[Problem], pictures: Mapping[str, list[str]]) -> str:
    """One page that needs no other file.

    Args:
        annotated: The annotations.
        problems: What is wrong.
        pictures: JPEG pictures as base64, by video.
    """
    template = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined).from_string(PAGE)
    return template.render(
        title=f"Data check of {shown(annotated.root)}",
        lines=(annotated.summary(), *annotated.notes),
        counts=Counter((problem.severity, problem.kind) for problem in problems),
        rows=[
            (problem, _short(problem.path, annotated.folder), pictures.get(problem.path, [])) for problem in problems
        ],
    )


def facts_rows(facts: Mapping[Path, Facts]) -> Iterator[list[object]]:
    """The facts of every video, a row each, after a row of their names."""
    for number, (video, video_facts) in enumerate(sorted(facts.items())):
        values = video_facts.as_dict()
        if not number:
            yield ["path", *values]
        yield [str(video), *values.values()]


def _short(path: str, folder: Path) -> str:
    """A path as it may be shown, from the data folder on where it lies in it."""
    inside = Path(path) != folder and Path(path).is_relative_to(folder)
    return shown(Path(path).relative_to(folder) if inside else path)
