"""Fields of JSON objects, read with error messages of path, rule and value."""

import difflib
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

REQUIRED = object()
# Takes a value and the path of its field.
Reader = Callable[[Any, str], Any]


class Field(NamedTuple):
    """A field of an object, and the conversions of its value in both directions."""

    name: str
    attribute: str  # its name in Python
    read: Reader
    write: Callable[[Any], Any]
    default: Any = REQUIRED  # in Python, if the object lacks the field


def parse(text: bytes, origin: str) -> Any:
    """Parses a JSON file; `origin` is its name in the message.

    Raises:
      ValueError: the text is not JSON, or an object names a field twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{origin} is not valid JSON: {error}.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the field {name} occurs twice in one object")
    return dict(pairs)


def read_fields(
    description: dict[str, Any], fields: Iterable[Field], at: str
) -> dict[str, Any]:
    """Reads the values of an object by attribute; `at` is the path before a field's name.

    Raises:
      ValueError: a field is unknown or missing, or its value breaks its rule.
    """
    fields = tuple(fields)
    names = [field.name for field in fields]
    for name in description:
        if name not in names:
            raise ValueError(
                f"{at}{name} is not a known field{nearest(name, names)} "
                f"Known: {', '.join(names)}."
            )
    values = {}
    for field in fields:
        if field.name in description:
            value = field.read(description[field.name], at + field.name)
        elif field.default is REQUIRED:
            raise ValueError(f"{at}{field.name} is missing.")
        else:
            value = field.default
        values[field.attribute] = value
    return values


def write_fields(values: dict[str, Any], fields: Iterable[Field]) -> dict[str, Any]:
    """Writes the object that `read_fields` reads; defaults are left out."""
    return {
        field.name: field.write(values[field.attribute])
        for field in fields
        if values[field.attribute] != field.default
    }


def shown(value: object) -> str:
    """Formats a value as it stands in a file; a long one is cut."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(value: object, known: Iterable[str]) -> str:
    """Ends a message with the known name most like `value`, if there is one."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(value).lower(), names, n=1, cutoff=0.5)
    return f'; did you mean "{names[near[0]]}"?' if near else "."


def read_string(value: Any, where: str) -> str:
    """Reads any string."""
    if not isinstance(value, str):
        raise ValueError(f"{where} must be a string, got {shown(value)}.")
    return value


def read_flag(value: Any, where: str) -> bool:
    """Reads a boolean, which published files write as 1 or 0."""
    if value not in (0, 1) or isinstance(value, float):
        raise ValueError(f"{where} must be true, false, 1 or 0, got {shown(value)}.")
    return bool(value)


def read_positive_int(value: Any, where: str) -> int:
    """Reads an integer of at least 1."""
    if not _is_positive_int(value):
        raise ValueError(f"{where} must be a positive integer, got {shown(value)}.")
    return value


def read_positive_number(value: Any, where: str) -> float:
    """Reads a number above 0 that a float can hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= sys.float_info.max:
        raise ValueError(f"{where} must be a positive number, got {shown(value)}.")
    return float(value)


def read_choice(choices: Iterable[str]) -> Reader:
    """Makes a reader of one of some names."""
    known = tuple(choices)

    def read(value: Any, where: str) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(
                f"{where} must be one of {', '.join(known)}, got {shown(value)}"
                f"{nearest(value, known)}"
            )
        return value

    return read


def read_sizes(rule: str, *lengths: int) -> Reader:
    """Makes a reader of a list of positive integers, as a tuple of an allowed length."""

    def read(value: Any, where: str) -> tuple[int, ...]:
        fits = isinstance(value, list | tuple) and len(value) in lengths
        if not fits or not all(map(_is_positive_int, value)):
            raise ValueError(f"{where} must be {rule}, got {shown(value)}.")
        return tuple(value)

    return read


def _is_positive_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
