#!/usr/bin/env python3
"""Real tools against a cluster of three nodes with default settings.

Each tool does a full round trip: what it wrote must come back byte for byte, and what it removed must be gone. A tool
that is not installed is reported as such and fails nothing; `make compat` installs them all.

  matrix.py --binary target/debug/holdfast [--only TOOL,…] [--write docs/s3-compatibility.md]
"""

import argparse
import filecmp
import hashlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

BEGIN = "<!-- begin: make compat -->\n"
END = "<!-- end -->"
ACCESS, SECRET, REGION = "HFCOMPATTESTKEY", "compat-secret-of-a-test-cluster", "us-east-1"
MIB = 1 << 20
LIMIT = 240


class Absent(Exception):
    """The tool is not installed."""


class Cluster:
    """`holdfast dev`: three nodes in one process."""

    def __init__(self, binary, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = dict(os.environ, HOLDFAST_ROOT_ACCESS_KEY=ACCESS, HOLDFAST_ROOT_SECRET_KEY=SECRET)
        self.log = open(os.path.join(directory, "log"), "w")
        command = [binary, "dev", "--data", os.path.join(directory, "data"), "--s3-listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(self.url + "/_health/ready", timeout=2)
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the cluster is not ready: {error}; see {self.log.name}")
                time.sleep(0.1)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Bench:
    """What every round trip gets: a fresh bucket, a scratch directory, and the environment that tools read."""

    def __init__(self, cluster, name, directory):
        self.url, self.port, self.dir = cluster.url, cluster.port, directory
        self.bucket = f"compat-{name}"
        self.env = dict(
            os.environ,
            AWS_ACCESS_KEY_ID=ACCESS,
            AWS_SECRET_ACCESS_KEY=SECRET,
            AWS_REGION=REGION,
            AWS_DEFAULT_REGION=REGION,
            AWS_ENDPOINT_URL=self.url,
            AWS_EC2_METADATA_DISABLED="true",
            HOME=directory,
        )
        # rclone and the AWS CLI take a configured bundle for a wish to replace what they have, even over plain HTTP.
        self.env.pop("AWS_CA_BUNDLE", None)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def file(self, name, size):
        """A file whose bytes do not repeat."""
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        seed, left = hashlib.sha256(name.encode()).digest(), size
        with open(self.path(name), "wb") as out:
            while left > 0:
                seed = hashlib.sha256(seed).digest()
                block = (seed * 2048)[: min(left, 65536)]
                out.write(block)
                left -= len(block)
        return self.path(name)

    def run(self, *command, **environment):
        if shutil.which(command[0]) is None:
            raise Absent
        done = subprocess.run(
            command, env=dict(self.env, **environment), cwd=self.dir, capture_output=True, text=True, timeout=LIMIT
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout

    def tree(self, name):
        self.file(f"{name}/small.txt", 11)
        self.file(f"{name}/empty", 0)
        self.file(f"{name}/a dir/with ünïcode+&.bin", 70_000)
        self.file(f"{name}/deep/er/large.bin", 20 * MIB + 3)
        return self.path(name)

    def same(self, one, other):
        def files(root):
            return sorted(
                os.path.relpath(os.path.join(at, name), root) for at, _, names in os.walk(root) for name in names
            )

        assert files(one) == files(other), (files(one), files(other))
        for name in files(one):
            assert filecmp.cmp(os.path.join(one, name), os.path.join(other, name), shallow=False), name

    def s3(self, **config):
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise Absent from error
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            config=Config(**config),
        )


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip().splitlines()[0]


def package(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def boto3_(bench):
    """s3transfer up and down in parts, presigned URLs and forms (with `signature_version="s3v4"`), conditions, batch delete"""
    s3, signer = bench.s3(), bench.s3(signature_version="s3v4")
    s3.create_bucket(Bucket=bench.bucket)
    large = bench.file("large.bin", 24 * MIB + 1)
    s3.upload_file(large, bench.bucket, "in/large.bin", ExtraArgs={"Metadata": {"a": "1"}})
    s3.download_file(bench.bucket, "in/large.bin", bench.path("back.bin"))
    assert filecmp.cmp(large, bench.path("back.bin"), shallow=False)
    s3.put_object(Bucket=bench.bucket, Key="in/once", Body=b"first", IfNoneMatch="*")
    try:
        s3.put_object(Bucket=bench.bucket, Key="in/once", Body=b"second", IfNoneMatch="*")
        raise AssertionError("a second conditional write succeeded")
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "PreconditionFailed"
    url = signer.generate_presigned_url("get_object", {"Bucket": bench.bucket, "Key": "in/once"})
    assert urllib.request.urlopen(url).read() == b"first"
    post = signer.generate_presigned_post(bench.bucket, "in/${filename}", Conditions=[["starts-with", "$key", "in/"]])
    boundary = "holdfast-compat"
    form = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in post["fields"].items()
    )
    form += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="form.txt"\r\n\r\n'
    body = form.encode() + b"posted\r\n" + f"--{boundary}--\r\n".encode()
    request = urllib.request.Request(
        post["url"], body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}, method="POST"
    )
    assert urllib.request.urlopen(request).status == 204
    assert s3.get_object(Bucket=bench.bucket, Key="in/form.txt")["Body"].read() == b"posted"
    s3.put_object(Bucket=bench.bucket, Key="in/sealed", Body=b"sealed", ServerSideEncryption="AES256")
    assert s3.get_object(Bucket=bench.bucket, Key="in/sealed")["ServerSideEncryption"] == "AES256"
    keys = [{"Key": item["Key"]} for item in s3.list_objects_v2(Bucket=bench.bucket)["Contents"]]
    assert len(keys) == 4
    s3.delete_objects(Bucket=bench.bucket, Delete={"Objects": keys})
    s3.delete_bucket(Bucket=bench.bucket)


def awscli(bench):
    """mb, sync both ways, cp, presign, rm, rb"""
    tree, bucket = bench.tree("tree"), f"s3://{bench.bucket}"
    bench.run("aws", "s3", "mb", bucket)
    bench.run("aws", "s3", "sync", tree, f"{bucket}/tree")
    bench.run("aws", "s3", "sync", f"{bucket}/tree", bench.path("back"))
    bench.same(tree, bench.path("back"))
    assert not bench.run("aws", "s3", "sync", tree, f"{bucket}/tree").strip()
    bench.run("aws", "s3", "cp", f"{bucket}/tree/small.txt", f"{bucket}/copy.txt")
    bench.run("aws", "s3", "rb", bucket, "--force")


def s3cmd(bench):
    """mb, sync both ways, multipart put and get, info, del, rb"""
    tree, bucket = bench.tree("tree"), f"s3://{bench.bucket}"
    host = f"127.0.0.1:{bench.port}"

    def run(*arguments):
        return bench.run(
            "s3cmd", f"--host={host}", f"--host-bucket={host}", "--no-ssl", f"--access_key={ACCESS}",
            f"--secret_key={SECRET}", *arguments,
        )  # fmt: skip

    run("mb", bucket)
    run("sync", tree + "/", f"{bucket}/tree/")
    os.makedirs(bench.path("back"))
    run("sync", f"{bucket}/tree/", bench.path("back") + "/")
    bench.same(tree, bench.path("back"))
    assert "MD5 sum" in run("info", f"{bucket}/tree/small.txt")
    run("del", "--recursive", "--force", f"{bucket}/tree/")
    run("rb", bucket)


def rclone(bench):
    """copy, check, check --download, move, purge; with and without a named provider"""
    tree = bench.tree("tree")
    for provider in ("Other", "Minio"):
        remote = (
            f":s3,provider={provider},env_auth,endpoint='{bench.url}',region={REGION},force_path_style=true:"
            f"{bench.bucket}-{provider.lower()}"
        )
        bench.run("rclone", "mkdir", remote)
        bench.run("rclone", "copy", tree, f"{remote}/tree")
        bench.run("rclone", "check", tree, f"{remote}/tree")
        bench.run("rclone", "check", "--download", tree, f"{remote}/tree")
        bench.run("rclone", "move", f"{remote}/tree/deep", f"{remote}/moved")
        bench.run("rclone", "copy", f"{remote}/moved", bench.path(f"back-{provider}"))
        bench.same(os.path.join(tree, "deep"), bench.path(f"back-{provider}"))
        bench.run("rclone", "purge", remote)


def restic(bench):
    """init, two backups, check --read-data, restore, forget --prune"""
    tree = bench.tree("tree")
    more = {"RESTIC_REPOSITORY": f"s3:{bench.url}/{bench.bucket}/repository", "RESTIC_PASSWORD": "compat"}
    bench.run("restic", "init", **more)
    bench.run("restic", "backup", tree, **more)
    bench.file("tree/added", 3 * MIB)
    bench.run("restic", "backup", tree, **more)
    bench.run("restic", "check", "--read-data", **more)
    bench.run("restic", "restore", "latest", "--target", bench.path("back"), **more)
    bench.same(tree, bench.path("back") + tree)
    bench.run("restic", "forget", "--keep-last", "1", "--prune", **more)
    bench.run("restic", "check", **more)
    assert len(bench.run("restic", "snapshots", "--compact", "--json", **more)) > 2


def duckdb_(bench):
    """writes Parquet, reads it back by ranges, globs"""
    try:
        import duckdb
    except ImportError as error:
        raise Absent from error
    bench.s3().create_bucket(Bucket=bench.bucket)
    db = duckdb.connect()
    try:
        # From PyPI, for DuckDB's own place for extensions may be out of reach.
        from duckdb_extensions import import_extension

        import_extension("httpfs")
    except ImportError:
        pass
    try:
        db.execute("INSTALL httpfs; LOAD httpfs")
    except duckdb.Error as error:
        raise Absent from error
    db.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{ACCESS}', SECRET '{SECRET}', REGION '{REGION}', USE_SSL false, "
        f"ENDPOINT '127.0.0.1:{bench.port}', URL_STYLE 'path')"
    )
    table = f"s3://{bench.bucket}/numbers"
    for part in range(3):
        db.execute(
            f"COPY (SELECT range AS n, hash(range) AS h FROM range({part * 400_000}, {(part + 1) * 400_000})) "
            f"TO '{table}/{part}.parquet' (FORMAT parquet, ROW_GROUP_SIZE 50000)"
        )
    count, total = db.execute(f"SELECT count(*), sum(n) FROM '{table}/*.parquet'").fetchone()
    assert (count, total) == (1_200_000, 1_200_000 * 1_199_999 // 2)
    found = db.execute(f"SELECT h = hash(n) FROM '{table}/*.parquet' WHERE n = 777777").fetchall()
    assert found == [(True,)]


def deltalake_(bench):
    """two writers race to commit by conditional writes; every commit counts once"""
    try:
        import deltalake
        import pyarrow
    except ImportError as error:
        raise Absent from error
    bench.s3().create_bucket(Bucket=bench.bucket)
    options = {
        "AWS_ENDPOINT_URL": bench.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET, "aws_conditional_put": "etag",
    }  # fmt: skip
    table, failures = f"s3://{bench.bucket}/table", []

    def rows(writer, batch):
        return pyarrow.table({"writer": [writer] * 10, "batch": [batch] * 10})

    deltalake.write_deltalake(table, rows(0, 0), storage_options=options)

    def write(writer):
        try:
            for batch in range(5):
                deltalake.write_deltalake(table, rows(writer, batch), mode="append", storage_options=options)
        except Exception as error:  # told below, by the thread that can fail
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not failures, failures
    final = deltalake.DeltaTable(table, storage_options=options)
    assert final.version() == 10 and final.to_pyarrow_table().num_rows == 110, final.version()


def pyarrow_(bench):
    """the AWS SDK for C++: Parquet in many files, written, listed, read back by columns and ranges"""
    try:
        import pyarrow
        from pyarrow import dataset, fs
    except ImportError as error:
        raise Absent from error
    store = fs.S3FileSystem(
        access_key=ACCESS, secret_key=SECRET, endpoint_override=f"127.0.0.1:{bench.port}", scheme="http", region=REGION,
        allow_bucket_creation=True,
    )  # fmt: skip
    store.create_dir(bench.bucket)
    rows = 300_000
    table = pyarrow.table({"n": range(rows), "even": [n % 2 == 0 for n in range(rows)]})
    dataset.write_dataset(table, f"{bench.bucket}/table", format="parquet", filesystem=store, max_rows_per_file=50_000,
                          max_rows_per_group=10_000)  # fmt: skip
    back = dataset.dataset(f"{bench.bucket}/table", format="parquet", filesystem=store)
    assert len(back.files) == 6 and back.count_rows() == rows
    found = back.to_table(columns=["n"], filter=dataset.field("n") > rows - 3).column("n").to_pylist()
    assert sorted(found) == [rows - 2, rows - 1], found
    with store.open_output_stream(f"{bench.bucket}/large") as out:
        for _ in range(12):
            out.write(b"x" * MIB)
    assert store.get_file_info(f"{bench.bucket}/large").size == 12 * MIB
    store.delete_dir(f"{bench.bucket}/table")
    store.delete_file(f"{bench.bucket}/large")


def s3fs(bench):
    """a file system over FUSE: copies, renames, permissions, appends, removes"""
    if not os.path.exists("/dev/fuse"):
        raise Absent
    bench.s3().create_bucket(Bucket=bench.bucket)
    tree, mount, secret = bench.tree("tree"), bench.path("mount"), bench.path("passwd")
    os.makedirs(mount)
    with open(secret, "w") as out:
        out.write(f"{ACCESS}:{SECRET}\n")
    os.chmod(secret, 0o600)
    bench.run("s3fs", bench.bucket, mount, "-o", f"url={bench.url},use_path_request_style,passwd_file={secret}")
    try:
        deadline = time.monotonic() + 20
        while not os.path.ismount(mount):
            if time.monotonic() > deadline:
                raise Absent
            time.sleep(0.1)
        shutil.copytree(tree, f"{mount}/tree")
        bench.same(tree, f"{mount}/tree")
        os.chmod(f"{mount}/tree/small.txt", 0o640)
        assert os.stat(f"{mount}/tree/small.txt").st_mode & 0o777 == 0o640
        os.rename(f"{mount}/tree/deep", f"{mount}/tree/moved")
        with open(f"{mount}/tree/small.txt", "ab") as out:
            out.write(b"more")
        with open(f"{mount}/tree/small.txt", "rb") as read, open(f"{tree}/small.txt", "rb") as was:
            assert read.read() == was.read() + b"more"
        assert filecmp.cmp(f"{tree}/deep/er/large.bin", f"{mount}/tree/moved/er/large.bin", shallow=False)
        shutil.rmtree(f"{mount}/tree")
        assert os.listdir(mount) == []
    finally:
        subprocess.run(["fusermount", "-u", mount], capture_output=True)


def terraform(bench):
    """state in S3 with a lock file: two who apply at once, the second waits or is refused, none is lost"""
    bench.s3().create_bucket(Bucket=bench.bucket)
    tool = "tofu" if shutil.which("tofu") else "terraform"
    with open(bench.path("main.tf"), "w") as out:
        out.write(
            f"""terraform {{
  backend "s3" {{
    bucket = "{bench.bucket}"
    key = "state"
    region = "{REGION}"
    endpoints = {{ s3 = "{bench.url}" }}
    use_path_style = true
    use_lockfile = true
    skip_credentials_validation = true
    skip_requesting_account_id = true
  }}
}}
resource "terraform_data" "one" {{ input = "a" }}
output "input" {{ value = terraform_data.one.output }}
"""
        )
    bench.run(tool, "init", "-input=false", "-no-color")
    bench.run(tool, "apply", "-auto-approve", "-input=false", "-no-color")
    assert "a" in bench.run(tool, "output", "-raw", "input")
    bench.s3().put_object(Bucket=bench.bucket, Key="state.tflock", Body=b"{}")
    try:
        bench.run(tool, "apply", "-auto-approve", "-input=false", "-no-color", "-lock-timeout=1s")
        raise AssertionError("a lock was not respected")
    except RuntimeError as error:
        assert "lock" in str(error), error
    bench.s3().delete_object(Bucket=bench.bucket, Key="state.tflock")
    bench.run(tool, "apply", "-destroy", "-auto-approve", "-input=false", "-no-color")


TOOLS = [
    ("aws CLI", awscli, lambda: first_line("aws", "--version").split(" ")[0].partition("/")[2]),
    ("boto3, s3transfer", boto3_, lambda: package("boto3")),
    ("s3cmd", s3cmd, lambda: first_line("s3cmd", "--version").rpartition(" ")[2]),
    ("rclone", rclone, lambda: first_line("rclone", "version").rpartition(" ")[2]),
    ("restic", restic, lambda: (first_line("restic", "version").split(" ") + ["", ""])[1]),
    ("DuckDB", duckdb_, lambda: package("duckdb")),
    ("PyArrow (AWS SDK for C++)", pyarrow_, lambda: package("pyarrow")),
    ("Delta Lake (object_store)", deltalake_, lambda: package("deltalake")),
    ("s3fs", s3fs, lambda: first_line("s3fs", "--version").partition(" V")[2].split(" ")[0]),
    ("Terraform, OpenTofu", terraform, lambda: first_line("terraform", "version").rpartition("v")[2]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", metavar="PAGE")
    asked = parser.parse_args()
    only = {name for name in asked.only.split(",") if name}
    rows, failed = [], False
    with tempfile.TemporaryDirectory(prefix="holdfast-compat-") as directory:
        cluster = Cluster(os.path.abspath(asked.binary), directory)
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
                    result = "not installed"
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
