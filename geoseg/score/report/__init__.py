"""Reports: what is written as score.json and comparison.json, and printed.

``values`` are the pydantic models whose JSON is written, ``report`` builds them from tallies, ``tables``
turns them into tables of text for the command line and into Markdown. Begin with
:mod:`geoseg.score.report.values`.
"""
