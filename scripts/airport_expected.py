#!/usr/bin/env python3
"""Computes what the airport example must report, from the same files, and checks a report against it.

    airport_expected.py FLIGHTS WEATHER                       prints the expected numbers
    airport_expected.py FLIGHTS WEATHER --check REPORT.json   checks a report
    airport --report json | airport_expected.py FLIGHTS WEATHER --check -

A report is the last line of its file. Exits with 1 at the first number that differs.
"""

import argparse
import datetime
import json
import re
import sys
from collections import Counter

FLIGHT_COLUMNS = """year month day dep_time sched_dep_time dep_delay arr_delay carrier flight origin dest air_time
time_hour""".split()
WEATHER_COLUMNS = ["origin", "time_hour", "wind_speed", "visib"]
INTEGER = re.compile(r"[+-]?[0-9]+")
# The separator of topics, wildcards, white space, zero-width spaces and control characters.
NO_CODE = re.compile(r"[.\s\x00-\x1f\x7f\u200b\ufeff]|^[*>]$|^$")


class BadRow(Exception):
    """A row that the example has to skip."""


def fields(line):
    """The fields of one line; a field in quotes may hold commas, and two quotes for one."""
    found, rest = [], line
    while True:
        match = re.match(r'"((?:[^"]|"")*)"([^,]*)(,?)', rest) or re.match(r'(?!")([^,]*)()(,?)', rest)
        if match is None:
            raise BadRow("a quote is not closed")
        found.append(match.group(1).replace('""', '"') + match.group(2))
        rest = rest[match.end():]
        if not match.group(3):
            return found


def rows(path, columns):
    """The rows as dictionaries, or None for one that has the wrong shape."""
    with open(path, "rb") as file:
        header = None
        for line in file:
            line = line.removesuffix(b"\n").removesuffix(b"\r")
            if not line:
                continue
            try:
                row = fields(line.decode("utf-8-sig" if header is None else "utf-8"))
            except (UnicodeDecodeError, BadRow):
                if header is None:
                    sys.exit(f"{path}: the header is broken")
                yield None
                continue
            if header is None:
                header = row
                missing = [column for column in columns if column not in header]
                if missing:
                    sys.exit(f"{path}: the header has no column {missing[0]}")
            else:
                yield dict(zip(header, row)) if len(row) == len(header) else None


def integer(text, bits=32):
    if not INTEGER.fullmatch(text) or abs(int(text)) >= 1 << (bits - 1):
        raise BadRow(f"{text!r} is not a number")
    return int(text)


def clock(text):
    value = integer(text)
    if not 0 <= value <= 2400 or value % 100 > 59:
        raise BadRow(f"{text!r} is not a time")
    return value // 100 * 60 + value % 100


def code(text):
    if NO_CODE.search(text) or len(text.encode()) > 15:
        raise BadRow(f"{text!r} is not a code")
    return text


def hour(text):
    """Hours since 1970. The files write them all in one way."""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError as error:
        raise BadRow(str(error)) from error


def unless_na(convert, text):
    return None if text == "NA" else convert(text)


def observations(path):
    """The set of observations, and the number of bad rows."""
    found, bad = set(), 0
    for row in rows(path, WEATHER_COLUMNS):
        try:
            if row is None:
                raise BadRow("it has the wrong shape")
            key = (code(row["origin"]), hour(row["time_hour"]))
            for column in ("wind_speed", "visib"):
                unless_na(float, row[column])
            found.add(key)
        except (BadRow, ValueError):
            bad += 1
    return found, bad


def flight(row):
    """What counts of one flight."""
    if row is None:
        raise BadRow("it has the wrong shape")
    integer(row["flight"])
    codes = {column: code(row[column]) for column in ("origin", "dest", "carrier")}
    if "NA" in codes.values():
        raise BadRow("a code is needed")
    departed = unless_na(clock, row["dep_time"]) is not None
    dep_delay = unless_na(integer, row["dep_delay"]) or 0
    air_time = unless_na(integer, row["air_time"])
    if air_time is not None and air_time < 0:
        raise BadRow("a negative time")
    minutes = clock(row["sched_dep_time"])
    try:
        scheduled = datetime.datetime(integer(row["year"]), integer(row["month"]), integer(row["day"]))
        scheduled += datetime.timedelta(minutes=minutes)
        if departed:
            scheduled + datetime.timedelta(minutes=dep_delay) + datetime.timedelta(minutes=air_time or 120)
    except (ValueError, OverflowError) as error:
        raise BadRow(str(error)) from error
    return codes | {
        "departed": departed,
        "dep_delay": dep_delay,
        "landed": unless_na(integer, row["arr_delay"]) is not None,
        "hour": hour(row["time_hour"]),
    }


def expected(flights, weather):
    observed, bad_rows = observations(weather)
    count, origins, carriers = Counter(), Counter(), Counter()
    for row in rows(flights, FLIGHT_COLUMNS):
        try:
            one = flight(row)
        except BadRow:
            bad_rows += 1
            continue
        count["flights"] += 1
        if not one["departed"]:
            count["cancelled"] += 1
            continue
        count["departed"] += 1
        origins[one["origin"]] += 1
        carriers[one["carrier"]] += 1
        count["landed" if one["landed"] else "diverted"] += 1
        if one["dep_delay"] > 60:
            count["alerts"] += 1
            count["weather_answered" if (one["origin"], one["hour"]) in observed else "weather_missing"] += 1
    names = "flights departed landed cancelled diverted alerts weather_answered weather_missing".split()
    return {name: count[name] for name in names} | {
        "departed_by_origin": dict(sorted(origins.items())),
        "departed_by_carrier": dict(sorted(carriers.items())),
        "events": count["departed"] + count["cancelled"] + count["landed"] + count["diverted"],
        "dropped": 0,
        "dead_letters": bad_rows,
        "bad_rows": bad_rows,
    }


def check(report, wanted):
    """The first thing that is wrong with the report, or None."""
    for name, value in wanted.items():
        if name not in report:
            return f"{name} is not in the report"
        if report[name] != value:
            return f"{name} is {report[name]}, wanted {value}"
    for name in ("audited", "audit_lost", "seconds", "events_per_second"):
        if not isinstance(report.get(name), (int, float)) or report[name] < 0:
            return f"{name} is {report.get(name)!r}, wanted a number"
    if report["audited"] + report["audit_lost"] != report["events"]:
        return f"audited {report['audited']} + audit_lost {report['audit_lost']} are not the {report['events']} events"
    return None


def read_report(path):
    """The object in the last line."""
    try:
        if path == "-":
            text = sys.stdin.read()
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        report = json.loads(text.strip().splitlines()[-1])
    except (OSError, ValueError, IndexError) as error:
        sys.exit(f"{path}: there is no report: {error}")
    if not isinstance(report, dict):
        sys.exit(f"{path}: the report is not an object")
    return report


def main():
    parser = argparse.ArgumentParser(description="The numbers that the airport example must report.")
    parser.add_argument("flights")
    parser.add_argument("weather")
    parser.add_argument("--check", metavar="REPORT", help="a file with the report in its last line, - for standard input")
    options = parser.parse_args()
    # Read before the files, so that a program that writes to us is not held up.
    report = read_report(options.check) if options.check else None
    wanted = expected(options.flights, options.weather)
    if report is None:
        print(json.dumps(wanted))
        return
    wrong = check(report, wanted)
    if wrong:
        sys.exit(f"the report is wrong: {wrong}")
    print(f"the report is right: {wanted['flights']} flights, {wanted['events']} events, {wanted['bad_rows']} bad rows")


if __name__ == "__main__":
    main()
