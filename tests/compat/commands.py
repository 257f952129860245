"""Round trips of programs that people run."""

import filecmp
import os
import shutil
import subprocess
import time
import urllib.request

from bench import ACCESS, MIB, REGION, SECRET, Absent


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


def awscli2(bench):
    """version 2: mb, sync both ways, cp, presign, head, rm, rb"""
    tool = os.environ.get("COMPAT_AWS_V2", "/usr/bin/aws")
    if not os.path.exists(tool) or "aws-cli/2" not in bench.run(tool, "--version"):
        raise Absent
    tree, bucket = bench.tree("tree"), f"s3://{bench.bucket}"

    def run(*arguments):
        # The distribution's does not read the endpoint from the environment yet.
        return bench.run(tool, "--endpoint-url", bench.url, *arguments)

    run("s3", "mb", bucket)
    run("s3", "sync", tree, f"{bucket}/tree")
    run("s3", "sync", f"{bucket}/tree", bench.path("back"))
    bench.same(tree, bench.path("back"))
    assert not run("s3", "sync", tree, f"{bucket}/tree").strip()
    run("s3", "cp", f"{bucket}/tree/deep/er/large.bin", f"{bucket}/copy.bin")
    url = run("s3", "presign", f"{bucket}/copy.bin").strip()
    with urllib.request.urlopen(url) as answer, open(f"{tree}/deep/er/large.bin", "rb") as was:
        assert answer.read() == was.read()
    head = run("s3api", "head-object", "--bucket", bench.bucket, "--key", "tree/small.txt")
    assert '"ContentLength": 11' in head, head
    run("s3", "rm", f"{bucket}/copy.bin")
    run("s3", "rb", bucket, "--force")


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
