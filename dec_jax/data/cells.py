"""Texts of a table as values: numbers, dates, and yes or no."""

import re
import unicodedata
from collections import Counter
from itertools import product
from typing import NamedTuple

import numpy as np

# Texts that stand for a missing value, in small letters.
MISSING = ("", "na", "n/a", "#n/a", "#na", "<na>", "nan", "nat", "null")
# In a column whose other cells are numbers or dates, these do too.
NO_NUMBER = (
    *MISSING, "none", "-", "--", "–", "—", "?", ".", "n.a.", "k.a.", "unknown",
    "missing", "#null!", "#value!", "#div/0!", "0000-00-00",
)  # fmt: skip
TRUTH = {"true": 1.0, "yes": 1.0, "t": 1.0, "y": 1.0}
TRUTH |= {"false": 0.0, "no": 0.0, "f": 0.0, "n": 0.0}
CURRENCIES = (
    "USD", "EUR", "GBP", "CHF", "JPY", "CNY", "CAD", "AUD", "NZD", "SEK", "NOK", "DKK",
    "PLN", "CZK", "HUF", "INR", "BRL", "MXN", "ZAR", "KRW", "TRY", "RUB", "Fr", "Fr.",
    "kr", "Rs", "Rs.", "R$", "US$", "C$", "CA$", "A$",
)  # fmt: skip
NUMBER = re.compile(
    r"""(?P<minus>[-+−]?)\s*
    (?P<before>[^\d\s.,+−-]*\.?)\s*
    (?P<inner_minus>[-+−]?)\s*
    (?P<digits>\d[\d.,'’\ ]*|[.,]\d+)
    (?P<after>[^\d]{0,12})""",
    re.VERBOSE,
)
# Numbers by their decimal mark, with or without groups of thousands.
FORMS = {
    ".": re.compile(r"(\d+|\d{1,3}(,\d{2,3})*,\d{3}|\d{1,3}([ '’]\d{3})+)?(\.\d*)?"),
    ",": re.compile(r"(\d+|\d{1,3}(\.\d{3})+|\d{1,3}([ '’]\d{3})+)?(,\d*)?"),
}
MULTIPLES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "bn": 1e9}
ISO = "ISO8601"  # the name that pandas has for YYYY-MM-DD, with or without a time
YES_NO = "yes/no"
DAYS = (
    "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y",
    "%d %B %Y", "%d. %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %Y", "%B %Y",
)  # fmt: skip
LARGE = re.compile(r"[-+]?[0-9]+([.][0-9]*)?[eE][+]?[0-9]+")
LIKE_A_DATE = re.compile(r"\d.*[-/.: ].*\d|[^\W\d]{3}.*\d{4}")
HOURS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
DATES = (ISO, *map("".join, product(DAYS, HOURS)), "%H:%M", "%H:%M:%S")
# Of the texts of a column of numbers, so many must be numbers; the others are missing.
MOST = 0.95
# A column of fewer different numbers among other texts is one of categories.
MANY_NUMBERS = 20


class Numbers(NamedTuple):
    """The numbers that the texts of a column stand for.

    Attributes:
      values: float64, NaN where a text is none.
      kind: "number", "date" (in days since 1970) or "yes/no".
      unit: text around each number, such as "$" or "%", or "".
      reading: the decimal mark where one was seen, or the format of the dates, or "".
    """

    values: np.ndarray
    kind: str
    unit: str = ""
    reading: str = ""


def numbers_of_texts(
    texts: list[str], *, decimal: str = ".", reading: str = ""
) -> Numbers | None:
    """Reads the texts of a column as yes or no, as numbers or as dates.

    Args:
      texts: different texts, stripped, none of which stands for a missing value.
      decimal: the mark that decides where both fit, as in "1,234".
      reading: how the texts of training were read, which goes first; their column has
        numbers, so that one text that is a number is enough here.

    Returns:
      The numbers, or None if too few texts are numbers.

    Example:
      >>> found = numbers_of_texts(["$1,234.50", "-$3"])
      >>> found.values.tolist(), found.unit
      ([1234.5, -3.0], '$')
    """
    if not texts:
        return None
    small = [text.lower() for text in texts]
    known = sum(text in TRUTH for text in small)
    if known == len(texts) or (known and reading == YES_NO):
        return Numbers(np.array([TRUTH.get(text, np.nan) for text in small]), YES_NO)
    if reading in FORMS:
        decimal = reading
    found = plain_numbers(texts, decimal) or written_numbers(texts, decimal)
    if found is None or not enough(found.values, bool(reading)):
        found = dates_of(texts, reading, day_first=decimal == ",")
    return found


def enough(values: np.ndarray, known_before: bool) -> bool:
    """Returns True if so many values are known that the others count as missing."""
    known = ~np.isnan(values)
    if known.all() or known_before:
        return bool(known.any())
    many = len(np.unique(values[known])) >= MANY_NUMBERS
    return bool(many and known.mean() >= MOST)


def plain_numbers(texts: list[str], decimal: str) -> Numbers | None:
    """Reads numbers as programs write them, such as -1.5e3; None if not all are."""
    import pandas as pd

    has_point = any("." in text for text in texts)
    if decimal == "," and has_point:
        return None  # 1.234 may be above a thousand.
    values = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce")
    values = values.to_numpy(np.float64)
    # pandas 2 reads a number that is too large for a float as none.
    for place in np.flatnonzero(np.isnan(values)):
        if LARGE.fullmatch(texts[place]):
            values[place] = float(texts[place])
    if np.isnan(values).any():
        return None
    return Numbers(values, "number", "", "." if has_point else "")


def written_numbers(texts: list[str], decimal: str) -> Numbers | None:
    """Reads numbers as people write them: with a currency, a unit or thousands."""
    parts = [parts_of(text) for text in texts]
    units = Counter(part.unit for part in parts if part and not part.is_zero)
    if not units:
        return None
    multiples = set(units) <= set(MULTIPLES)
    # Ties are broken by the order of letters.
    unit = max(sorted(units), key=units.__getitem__)
    fitting = [
        part if part and (multiples or part.is_zero or part.unit == unit) else None
        for part in parts
    ]
    fits = {
        mark: sum(bool(part and form.fullmatch(part.digits)) for part in fitting)
        for mark, form in FORMS.items()
    }
    other = "," if decimal == "." else "."
    mark = decimal if fits[decimal] >= fits[other] else other
    values = np.full(len(texts), np.nan)
    for index, part in enumerate(fitting):
        if part and FORMS[mark].fullmatch(part.digits):
            scale = MULTIPLES.get(part.unit, 1.0) if multiples else 1.0
            values[index] = part.sign * scale * number_of(part.digits, mark)
    seen = any(part and set(part.digits) & set(FORMS) for part in fitting)
    return Numbers(values, "number", "" if multiples else unit, mark if seen else "")


class Parts(NamedTuple):
    """A written number: its sign, the text around it, and its digits with their marks."""

    sign: float
    unit: str
    digits: str

    @property
    def is_zero(self) -> bool:
        """True for a bare zero, which needs no unit."""
        return not self.unit and not self.digits.strip("0.,")


def parts_of(text: str) -> Parts | None:
    """Splits a written number; None if the text is none."""
    text = re.sub(r"[\u00a0\u2007\u2009\u202f]", " ", text)
    sign = 1.0
    if text.startswith("(") and text.endswith(")"):
        text, sign = text[1:-1], -1.0
    match = NUMBER.fullmatch(text)
    if match is None or not is_currency(match["before"]):
        return None
    after, digits = match["after"].strip(), match["digits"].strip()
    if after in ("-", "−", "--", "–"):
        # "1.200,-" has no cents; "1200-" is below zero.
        sign = sign if digits[-1] in FORMS else -1.0
        after = ""
    if {match["minus"], match["inner_minus"]} & {"-", "−"}:
        sign = -1.0
    # "1 day" and "3 days" have one unit.
    after = after.removesuffix("s") if len(after) > 2 else after
    return Parts(sign, match["before"] + after, digits)


def is_currency(text: str) -> bool:
    """Returns True for the sign or code of a currency, or nothing."""
    signs = all(unicodedata.category(mark) == "Sc" for mark in text)
    return signs or text in CURRENCIES


def number_of(digits: str, mark: str) -> float:
    """Converts digits with a decimal mark to a number."""
    whole, _, fraction = digits.partition(mark)
    return float(f"0{re.sub(r'[^0-9]', '', whole)}.{fraction}")


def dates_of(texts: list[str], reading: str, day_first: bool) -> Numbers | None:
    """Reads dates, all by one format, as days since 1970."""
    sample = [text for text in texts if LIKE_A_DATE.search(text)][:50]
    if len(sample) < MOST * min(len(texts), 50) and not reading:
        return None
    if not sample:
        return None
    formats = sorted(
        DATES,
        key=lambda form: (form != reading, day_first and form[:3] in ("%m/", "%m-")),
    )
    for form in formats:
        unread = np.isnan(days_of(sample, form)).mean()
        if not unread <= (0.5 if reading else 1 - MOST):
            continue
        values = days_of(texts, form)
        if enough(values, bool(reading)):
            return Numbers(values, "date", "", form)
    return None


def days_of(texts: list[str], form: str) -> np.ndarray:
    """Reads dates of one format as days since 1970, NaN where a text is none."""
    import pandas as pd

    dates = pd.to_datetime(texts, format=form, errors="coerce", utc=True)
    days = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
    return np.asarray(days, np.float64)


def are_dates(texts: list[str]) -> bool:
    """Returns True if texts are dates, of whatever formats."""
    # Sorted texts have those of one format next to each other.
    sample = texts[:: -(-len(texts) // 50)]
    if sum(bool(LIKE_A_DATE.search(text)) for text in sample) < MOST * len(sample):
        return False
    unread = np.ones(len(sample), bool)
    for form in DATES:
        unread &= np.isnan(days_of(sample, form))
    return bool(unread.mean() <= 1 - MOST)
