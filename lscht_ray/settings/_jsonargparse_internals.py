"""What jsonargparse says only in the words of its complaints. tests/test_internals.py checks that they are still these.

Read in jsonargparse 4.53.0:
https://github.com/mauvilsa/jsonargparse/blob/v4.53.0/jsonargparse/_core.py#L503 (an unknown flag), and
https://github.com/mauvilsa/jsonargparse/blob/v4.53.0/jsonargparse/_typehints.py#L789 and #L927 (a value).
"""

import re


def unknown_flag(complaint: str) -> str:
    """The flag that no setting has, where that is the complaint; else an empty string."""
    _, known, rest = complaint.partition("unrecognized arguments:")
    return rest.split(maxsplit=1)[0].split("=")[0] if known else ""


def brief(complaint: str) -> str:
    """A complaint about a value, without what only a programmer understands."""
    found = re.search(
        r'Parser key "(?P<key>[^"]+)":(?P<text>.*?)(?:\[type=.*)?Got value: (?P<value>.*)', complaint, re.DOTALL
    )
    union = re.search(
        r'Parser key "(?P<key>[^"]+)":.*Subtypes: \[(?P<kinds>.*?)\]\n.*Given value: (?P<value>.*)',
        complaint,
        re.DOTALL,
    )
    if union is not None:
        kinds = re.findall(r"<class '(\w+)'>|Literal\[(.*?)\]", union["kinds"] + "]")
        allowed = " or ".join(a or b for a, b in kinds).replace("NoneType", "null")
        return f"--{union['key']} must be {allowed} (given: {union['value'].strip()})"
    if found is None:
        return complaint.strip()
    lines = [line.strip() for line in found["text"].splitlines() if "validation error" not in line]
    return f"--{found['key']}: {' '.join(lines).strip().rstrip('.')} (given: {found['value'].strip()})"
