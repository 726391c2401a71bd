"""Pairs to translate that are drawn: dates, sentences whose order changes, symbols in reverse."""

from __future__ import annotations

import datetime

import numpy as np

Pair = tuple[list[str], list[str]]
"""The symbols of a source, and those of its target."""

# --- Dates -----------------------------------------------------------------------------------------------------

_MONTHS = "January February March April May June July August September October November December".split()
_WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
_FORMS = (
    "{day} {month} {year}",
    "{month} {day}, {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday} {month} {nth}, {year}",
    "the {nth} of {month} {year}",
    "{month} the {nth}, {year}",
    "{day} {short} {year}",
    "{short}. {day}, {year}",
    "{weekday:.3}, {day:02} {short} {year}",
    "{day:02}/{number:02}/{year}",
    "{day}.{number}.{year}",
    "{day}-{short}-{year}",
)
"""Ways to write a date, as `str.format` has them; where all is numbers, the day comes first."""

_ALL_FORMS = (
    *_FORMS,
    "{nth} of {month} {year}",
    "{nth} of {month}, {year}",
    "{nth} {month} {year}",
    "{month} {nth} {year}",
    "{month} {nth}, {year}",
    "{month} {day} {year}",
    "{short} {day}, {year}",
    "{short} {nth} {year}",
    "{day} {short}. {year}",
    "the {nth} of {month}, {year}",
    "{weekday} {day} {month} {year}",
    "{weekday}, {month} {day}, {year}",
    "{weekday}, the {nth} of {month} {year}",
    "{weekday:.3} {nth} {short} {year}",
    "{day:02}.{number:02}.{year}",
    "{day}/{number}/{year}",
    "{year}-{number:02}-{day:02}",
    "{year}/{number:02}/{day:02}",
    "{year} {month} {day}",
)


def dates(rng: np.random.Generator, count: int = 8000) -> list[Pair]:
    """So many days between 1900 and 2099, no day twice, the characters of each in one of many ways to write it, a third
    of them in small letters or capitals; and of the date by ISO 8601: "the 3rd of April 1967" -> "1967-04-03"."""
    return _dates(rng, count, _FORMS)


def all_dates(rng: np.random.Generator, count: int = 16000) -> list[Pair]:
    """As `dates`, in more ways to write them: "3rd of May 2021", "Mon 3rd May 2021", "2021/05/03"."""
    return _dates(rng, count, _ALL_FORMS)


def _dates(rng: np.random.Generator, count: int, forms: tuple[str, ...]) -> list[Pair]:
    first = datetime.date(1900, 1, 1).toordinal()
    days = rng.choice(datetime.date(2100, 1, 1).toordinal() - first, count, replace=False)
    return [_written(datetime.date.fromordinal(first + int(day)), forms, rng) for day in days]


def _written(date: datetime.date, forms: tuple[str, ...], rng: np.random.Generator) -> Pair:
    month, weekday, day = _MONTHS[date.month - 1], _WEEKDAYS[date.weekday()], date.day
    nth = f"{day}{'th' if day in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
    form = forms[rng.integers(len(forms))]
    text = form.format(
        day=day, nth=nth, month=month, short=month[:3], number=date.month, weekday=weekday, year=date.year
    )
    return list((text, text, text, text, text.lower(), text.upper())[rng.integers(6)]), list(date.isoformat())


# --- A grammar that reorders -----------------------------------------------------------------------------------

_NOUNS = {
    "dog": "Hund",
    "cat": "Katz",
    "man": "Mann",
    "bird": "Vogel",
    "child": "Kind",
    "book": "Buch",
    "tree": "Baum",
    "house": "Haus",
}
_ADJECTIVES = {"big": "gross", "red": "rot", "old": "alt", "small": "klein"}
_VERBS = {
    "sees": "sieht",
    "eats": "isst",
    "loves": "liebt",
    "calls up": "ruft an",
    "switches off": "schaltet aus",
    "picks up": "hebt auf",
}


def reordered_sentences(rng: np.random.Generator, count: int = 10000) -> list[Pair]:
    """So many different sentences of a small grammar, the words of each in an English order and in a German one: the
    second part of a verb goes to the end ("calls up" -> "ruft ... an"), and the whole verb to the end of a relative
    clause, which may hold another. "the man that calls up the dog sees the cat" -> "d Mann , der d Hund anruft , sieht
    d Katz"."""

    def one_of(choices: dict[str, str]) -> tuple[str, str]:
        return list(choices.items())[rng.integers(len(choices))]

    def thing(depth: int) -> tuple[str, str]:
        source, target = one_of(_NOUNS)
        if rng.random() < 0.5:
            adjective, said = one_of(_ADJECTIVES)
            source, target = f"{adjective} {source}", f"{said}e {target}"
        if depth and rng.random() < 0.4:
            (verb, said), (other, its) = one_of(_VERBS), thing(depth - 1)
            source = f"{source} that {verb} {other}"
            target = f"{target} , der {its} {''.join(said.split()[::-1])} ,"
        return f"the {source}", f"d {target}"

    found: dict[str, str] = {}
    while len(found) < count:
        (verb, said), (subject, its), (object, whose) = one_of(_VERBS), thing(2), thing(2)
        first, _, rest = said.partition(" ")
        found[f"{subject} {verb} {object}"] = f"{its} {first} {whose} {rest}".rstrip()
    return [(source.split(), target.split()) for source, target in found.items()]


# --- Reversal --------------------------------------------------------------------------------------------------


def reversals(rng: np.random.Generator, count: int = 10000) -> list[Pair]:
    """So many different sequences of 3 to 12 letters, and each from its end to its beginning."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(chr(97 + letter) for letter in rng.integers(0, 26, rng.integers(3, 13)))] = None
    return [(list(text), list(text[::-1])) for text in found]
