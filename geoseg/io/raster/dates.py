"""When an image was taken, as far as its file states it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from geoseg.config.stac.item import UNKNOWN_DATE

__all__ = ["OLDEST", "date_properties", "parse_moment", "rfc3339"]

OLDEST = datetime(1900, 1, 1, tzinfo=UTC)
"""Start of the interval of a date that is unknown."""
_MOMENT = re.compile(
    r"(?P<day>(?:19|20)\d\d([-_:./]?)(?:0[1-9]|1[0-2])\2(?:0[1-9]|[12]\d|3[01]))"
    r"(?:[T _-]?(?P<time>(?:[01]\d|2[0-3])([-:]?)[0-5]\d\4[0-5]\d))?(?!\d)"
)


def parse_moment(text: str) -> tuple[datetime, bool] | None:
    """The first date in a text, and whether a time of day comes with it; UTC.

    >>> parse_moment("2022:09:04 15:46:03")
    (datetime.datetime(2022, 9, 4, 15, 46, 3, tzinfo=datetime.timezone.utc), True)
    >>> parse_moment("S2A_20180716_T33UVP")
    (datetime.datetime(2018, 7, 16, 0, 0, tzinfo=datetime.timezone.utc), False)
    >>> parse_moment("22978945_15") is None
    True
    """
    for found in re.finditer(rf"(?<!\d){_MOMENT.pattern}", text):
        digits = re.sub(r"\D", "", found["day"]) + re.sub(r"\D", "", found["time"] or "000000")
        try:
            return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC), found["time"] is not None
        except ValueError:  # 31 February
            continue
    return None


def date_properties(tags: Mapping[str, str], file_name: str, changed: float) -> dict[str, Any]:
    """STAC's date properties of a file: of GDAL's tags, its name and its modification time (Unix).

    The first of these that holds a date counts: GDAL's ``ACQUISITIONDATETIME``, EXIF's original date, the
    file's name, ``TIFFTAG_DATETIME`` (often the day of processing, so it comes last). A date without a time
    becomes ``datetime: null`` with start and end of that day. Without any, start and end are 1900 and the
    file's own date, which contain it (STAC wants an interval then), and ``geoseg:datetime_source`` is
    ``unknown``, so that they are not taken for an acquisition.
    """
    for source in ("ACQUISITIONDATETIME", "EXIF_DateTimeOriginal", "file name", "TIFFTAG_DATETIME"):
        moment = parse_moment(file_name if source == "file name" else tags.get(source, ""))
        if moment is None:
            continue
        start, exact = moment
        if exact:
            return {"datetime": rfc3339(start), "geoseg:datetime_source": source}
        end = start + timedelta(days=1, seconds=-1)
        return _span(start, end, source)
    return _span(OLDEST, datetime.fromtimestamp(changed, UTC), UNKNOWN_DATE)


def _span(start: datetime, end: datetime, source: str) -> dict[str, Any]:
    return {
        "datetime": None,
        "start_datetime": rfc3339(start),
        "end_datetime": rfc3339(end),
        "geoseg:datetime_source": source,
    }


def rfc3339(moment: datetime) -> str:
    """A moment of UTC as text, to the second: ``2022-09-04T15:46:03Z``."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
