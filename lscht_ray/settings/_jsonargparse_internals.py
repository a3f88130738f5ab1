"""What jsonargparse says only in the words of its complaints. tests/test_internals.py checks that they are still these.

Read in jsonargparse 4.53.0:
https://github.com/mauvilsa/jsonargparse/blob/v4.53.0/jsonargparse/_core.py#L503 (an unknown flag), and
https://github.com/mauvilsa/jsonargparse/blob/v4.53.0/jsonargparse/_typehints.py#L789 and #L927 (a value).
"""

import re
import shlex


def unknown_words(complaint: str) -> list[str]:
    """Return the words of a command line that no setting takes, where that is the complaint; else none."""
    _, unknown, rest = complaint.partition("unrecognized arguments:")
    try:
        return shlex.split(rest) if unknown else []
    except ValueError:  # a quotation mark among them
        return rest.split()


def without_value(complaint: str) -> str:
    """Return the flag that a value is missing of, where that is the complaint; else an empty string."""
    found = re.match(r"argument (?P<flag>--[\w.-]+)[^:]*: expected one argument", complaint.strip())
    return found["flag"] if found else ""


def missing_words(complaint: str) -> str:
    """Return the names of what a command line lacks, where that is the complaint; else an empty string."""
    _, lacking, names = complaint.partition("the following arguments are required: ")
    return names.strip() if lacking else ""


def wrong_setting(complaint: str) -> str:
    """Return the dotted name of the setting whose value is complained about; else an empty string."""
    found = re.match(r'Parser key "(?P<key>[^"]+)"', complaint.strip())
    return found["key"] if found else ""


def expected(complaint: str) -> str:
    """Return the name of the type that a value should have had, where the complaint says one; else an empty string."""
    found = re.search(r"Expected a <class '(\w+)'>", complaint)
    return found[1] if found else ""
