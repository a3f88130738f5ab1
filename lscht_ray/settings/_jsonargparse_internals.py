"""What jsonargparse says only in the words of its complaints. tests/test_internals.py checks that they are still these.

Read in jsonargparse 4.53.0:
https://github.com/mauvilsa/jsonargparse/blob/v4.53.0/jsonargparse/_core.py#L503 (an unknown flag), and
https://github.com/mauvilsa/jsonargparse/blob/v4.53.0/jsonargparse/_typehints.py#L789 and #L927 (a value).
"""

import re


def unknown_flag(complaint: str) -> str:
    """Return the flag that no setting has, where that is the complaint; else an empty string."""
    _, unknown, rest = complaint.partition("unrecognized arguments:")
    return rest.split(maxsplit=1)[0].split("=")[0] if unknown else ""


def brief(complaint: str) -> str:
    """Return a complaint about a value without what only a programmer understands."""
    wrong = re.search(
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
    if wrong is None:
        return complaint.strip()
    lines = [line.strip() for line in wrong["text"].splitlines() if "validation error" not in line]
    return f"--{wrong['key']}: {' '.join(lines).strip().rstrip('.')} (given: {wrong['value'].strip()})"
