"""What the readers of exported files demand, from their own sources, as JSON schemas."""

from typing import Any, Final

NUMBER: Final = {"type": "number"}
TEXT: Final = {"type": "string"}

# benchmark-action/github-action-benchmark: `BenchmarkResult` in src/extract.ts. It coerces; here
# the types that need no coercion are demanded.
GITHUB_BENCHMARK: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "value", "unit"],
        "properties": {
            "name": TEXT,
            "value": NUMBER,
            "unit": TEXT,
            "range": TEXT,
            "extra": TEXT,
        },
        "additionalProperties": False,
    },
}

# bencherdev/bencher: the schema of its documentation (https://bencher.dev/bmf.json), with the
# bounds on names of lib/bencher_valid/src/benchmark_name.rs and slug.rs.
BENCHER: Final[dict[str, Any]] = {
    "type": "object",
    "propertyNames": {"minLength": 1, "maxLength": 1024, "pattern": r"^\S(.*\S)?$"},
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 64},
        "additionalProperties": {
            "type": "object",
            "required": ["value"],
            "properties": {"value": NUMBER, "lower_value": NUMBER, "upper_value": NUMBER},
            "additionalProperties": False,
        },
    },
}

# ionelmc/pytest-benchmark: what storage/file.py, table.py and utils.py take from a file, and what
# github-action-benchmark takes from it (`extractPytestResult` in src/extract.ts).
_STATS: Final = ("min", "max", "mean", "median", "iqr", "stddev", "ops")
PYTEST_BENCHMARK: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["machine_info", "commit_info", "benchmarks", "datetime", "version"],
    "properties": {
        "benchmarks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["group", "name", "fullname", "params", "param", "stats"],
                "properties": {
                    "name": TEXT,
                    "fullname": TEXT,
                    "stats": {
                        "type": "object",
                        "required": [*_STATS, "outliers", "rounds", "iterations"],
                        "properties": {
                            **dict.fromkeys(_STATS, NUMBER),
                            **{key: {"type": "integer"} for key in ("rounds", "iterations")},
                            "outliers": TEXT,
                        },
                    },
                },
            },
        }
    },
}

# The file of a run, of this package: what is promised to who reads it.
_NAMED_TEXTS: Final = {"type": "object", "additionalProperties": TEXT}
_TEXTS: Final = {"type": "array", "items": TEXT}
_OPTIONAL_NUMBER: Final = {"type": ["number", "null"]}
RUN: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["version", "units", "created", "environment", "exit_status", "tests"],
    "properties": {
        "version": {"const": 1},
        "units": {"type": "object", "additionalProperties": {"enum": ["s", "B", "/s", "$", ""]}},
        "created": TEXT,
        "environment": TEXT,
        "versions": _NAMED_TEXTS,
        "exit_status": {"type": "integer"},
        "places": _NAMED_TEXTS,
        "lost": _TEXTS,
        "notes": _TEXTS,
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["nodeid", "measurements", "verdicts", "comparisons"],
                "properties": {
                    "nodeid": TEXT,
                    "measurements": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["label", "calls", "errors", "metrics"],
                            "properties": {
                                "label": {"type": ["string", "null"]},
                                "metrics": {"type": "object", "additionalProperties": NUMBER},
                                "findings": _TEXTS,
                            },
                        },
                    },
                    "verdicts": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["status", "metric", "value", "limit", "sentence"],
                            "properties": {
                                "status": {"enum": ["passed", "warned", "failed", "undecided"]},
                                "metric": TEXT,
                                **dict.fromkeys(
                                    ("value", "limit", "warn", "low", "high"), _OPTIONAL_NUMBER
                                ),
                            },
                        },
                    },
                },
            },
        },
    },
}
