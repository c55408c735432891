"""Numbers as words: so many digits as they deserve, with their noun in the right form."""

from __future__ import annotations

import math


def number(value: float, digits: int = 4) -> str:
    """A number with that many digits after the point, more of a small one.

    Example:
        >>> number(0.98333), number(0.00002), number(123456.7), number(float("inf"))
        ('0.9833', '2e-05', '123,456.7000', '∞')
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value != 0 and abs(value) < 0.5 * 10.0**-digits:
        return f"{value:.1g}"
    return f"{value:,.{digits}f}"


def short(value: float) -> str:
    """A number with four significant digits.

    Example:
        >>> short(1234567.0), short(0.0012345), short(3.0)
        ('1.235e+06', '0.001234', '3')
    """
    return number(value) if not math.isfinite(value) else f"{value:.4g}"


def digits(value: float) -> str:
    """A number with five significant digits.

    Example:
        >>> digits(55.85111), digits(0.5), digits(float("nan"))
        ('55.851', '0.5', 'undefined')
    """
    return number(value) if not math.isfinite(value) else f"{value:.5g}"


def percent(share: float, digits: int = 1) -> str:
    """A share in hundredths.

    Example:
        >>> percent(0.98333)
        '98.3 %'
    """
    return f"{100 * share:.{digits}f} %" if math.isfinite(share) else number(share)


def counted(value: int, noun: str, several: str | None = None) -> str:
    """A count and what is counted.

    Example:
        >>> counted(1, "row"), counted(2000, "row"), counted(2, "class", "classes")
        ('1 row', '2,000 rows', '2 classes')
    """
    return f"{value:,} {noun if value == 1 else several or noun + 's'}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Example:
        >>> duration(0.25), duration(75), duration(7300)
        ('0.25 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
