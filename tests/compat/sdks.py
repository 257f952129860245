"""Round trips of AWS's SDKs for other languages: a small program of each, built here and run against the cluster."""

import json
import os
import shutil

from bench import Absent, first_line

HERE = os.path.dirname(os.path.abspath(__file__))
# Where `make compat` has npm put the packages, and Debian its Go sources.
NODE_MODULES = os.environ.get("COMPAT_NODE_MODULES", "")
GOCODE = "/usr/share/gocode"
GO_SDK = f"{GOCODE}/src/github.com/aws/aws-sdk-go-v2"


def javascript(bench):
    """lib-storage up in parts, streams down, presigned URL, form, conditions, listing by pages, batch delete"""
    if shutil.which("node") is None or not os.path.isdir(f"{NODE_MODULES}/@aws-sdk/client-s3"):
        raise Absent
    # Packages are looked for beside the program.
    shutil.copy(f"{HERE}/trip.mjs", bench.path("trip.mjs"))
    os.symlink(NODE_MODULES, bench.path("node_modules"))
    assert bench.run("node", bench.path("trip.mjs"), bench.bucket).strip().endswith("done")


def javascript_version():
    try:
        with open(f"{NODE_MODULES}/@aws-sdk/client-s3/package.json") as text:
            return json.load(text)["version"]
    except OSError:
        return ""


def go(bench):
    """transfer manager up and down in parts, presigned URL, conditions, listing by pages, batch delete"""
    if not os.path.isdir(GO_SDK):
        raise Absent
    # Debian's sources are for GOPATH: nothing is fetched.
    build = {"GO111MODULE": "off", "GOPATH": GOCODE, "GOCACHE": bench.path("gocache"), "GOFLAGS": ""}
    bench.run("go", "build", "-o", bench.path("trip"), f"{HERE}/trip.go", **build)
    assert bench.run(bench.path("trip"), bench.bucket).strip().endswith("done")


def go_version():
    try:
        with open(f"{GO_SDK}/aws/go_module_metadata.go") as text:
            found = [line for line in text if "goModuleVersion" in line]
            return found[0].split('"')[1]
    except (OSError, IndexError):
        return first_line("dpkg-query", "-W", "-f", "${Version}", "golang-github-aws-aws-sdk-go-v2-dev")
