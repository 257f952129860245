#!/usr/bin/env python3
"""Real tools against a cluster of three nodes with default settings.

Each tool does a full round trip: what it wrote must come back byte for byte, and what it removed must be gone. A tool
that is not installed is reported as such and fails nothing, unless it is required; `make compat` installs them all.

  matrix.py --binary target/debug/holdfast [--only TOOL,…] [--write docs/s3-compatibility.md]
  COMPAT_ACCESS_KEY=… COMPAT_SECRET_KEY=… matrix.py --endpoint http://127.0.0.1:9000 [--require TOOL,…]
"""

import argparse
import os
import sys
import tempfile
import time

from bench import Absent, Bench, Cluster, Running, first_line, package
from commands import awscli, awscli2, rclone, restic, s3cmd, s3fs, terraform
from libraries import boto3_, deltalake_, duckdb_, pyarrow_, pyiceberg_
from sdks import go, go_version, javascript, javascript_version

BEGIN = "<!-- begin: make compat -->\n"
END = "<!-- end -->"

TOOLS = [
    ("aws CLI", awscli, lambda: first_line("aws", "--version").split(" ")[0].partition("/")[2]),
    ("aws CLI v2", awscli2, lambda: first_line("/usr/bin/aws", "--version").split(" ")[0].partition("/")[2]),
    ("boto3, s3transfer", boto3_, lambda: package("boto3")),
    ("s3cmd", s3cmd, lambda: first_line("s3cmd", "--version").rpartition(" ")[2]),
    ("rclone", rclone, lambda: first_line("rclone", "version").rpartition(" ")[2]),
    ("restic", restic, lambda: (first_line("restic", "version").split(" ") + ["", ""])[1]),
    ("DuckDB", duckdb_, lambda: package("duckdb")),
    ("PyArrow (AWS SDK for C++)", pyarrow_, lambda: package("pyarrow")),
    ("Delta Lake (object_store)", deltalake_, lambda: package("deltalake")),
    ("PyIceberg", pyiceberg_, lambda: package("pyiceberg")),
    ("AWS SDK for JavaScript v3", javascript, javascript_version),
    ("AWS SDK for Go v2", go, go_version),
    ("s3fs", s3fs, lambda: first_line("s3fs", "--version").partition(" V")[2].split(" ")[0]),
    ("Terraform, OpenTofu", terraform, lambda: first_line("terraform", "version").rpartition("v")[2]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--binary", help="start a cluster of this program")
    where.add_argument("--endpoint", metavar="URL", help="use the one that runs there")
    parser.add_argument("--only", default="", help="these tools, in the order of the table")
    parser.add_argument("--require", default="", help="tools that must be installed")
    parser.add_argument("--write", metavar="PAGE")
    asked = parser.parse_args()
    only, required = ({name for name in names.split(",") if name} for names in (asked.only, asked.require))
    unknown = (only | required) - {trip.__name__.strip("_") for _, trip, _ in TOOLS}
    if unknown:
        parser.error(f"no such tools: {', '.join(sorted(unknown))}")
    rows, failed = [], False
    with tempfile.TemporaryDirectory(prefix="holdfast-compat-") as directory:
        cluster = Cluster(os.path.abspath(asked.binary), directory) if asked.binary else Running(asked.endpoint)
        try:
            for title, trip, version in TOOLS:
                name = trip.__name__.strip("_")
                if only and name not in only:
                    continue
                scratch = os.path.join(directory, name)
                os.makedirs(scratch)
                started = time.monotonic()
                try:
                    trip(Bench(cluster, name, scratch))
                    result = "works"
                except Absent:
                    result, failed = "not installed", failed or name in required
                except Exception as error:
                    result, failed = "fails", True
                    print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                print(f"{name}: {result} ({time.monotonic() - started:.1f} s)", flush=True)
                rows.append(f"| {title} | {version() or '–'} | {trip.__doc__} | {result} |\n")
        finally:
            cluster.stop()
    if asked.write:
        with open(asked.write) as page:
            text = page.read()
        front, rest = text.split(BEGIN, 1)
        _, back = rest.split(END, 1)
        table = "| Tool | Version | Round trip | Result |\n|---|---|---|---|\n" + "".join(rows)
        with open(asked.write, "w") as page:
            page.write(front + BEGIN + table + END + back)
    sys.exit(failed)


if __name__ == "__main__":
    main()
