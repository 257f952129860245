"""The cluster that tools meet, and what every round trip gets."""

import filecmp
import hashlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

ACCESS = os.environ.get("COMPAT_ACCESS_KEY", "HFCOMPATTESTKEY")
SECRET = os.environ.get("COMPAT_SECRET_KEY", "compat-secret-of-a-test-cluster")
REGION = "us-east-1"
MIB = 1 << 20
LIMIT = 240


class Absent(Exception):
    """The tool is not installed."""


class Running:
    """A cluster that runs already and whose root key is in the environment."""

    def __init__(self, url):
        self.url, self.port = url, int(url.rpartition(":")[2])

    def stop(self):
        pass


class Cluster:
    """`holdfast dev`: three nodes in one process."""

    def __init__(self, binary, directory):
        probes = [socket.socket() for _ in range(3)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        self.port, admin, ops = (probe.getsockname()[1] for probe in probes)
        for probe in probes:
            probe.close()
        environment = dict(os.environ, HOLDFAST_ROOT_ACCESS_KEY=ACCESS, HOLDFAST_ROOT_SECRET_KEY=SECRET)
        self.log = open(os.path.join(directory, "log"), "w")
        command = [binary, "dev", "--data", os.path.join(directory, "data"), "--s3-listen", f"127.0.0.1:{self.port}"]
        command += ["--admin-listen", f"127.0.0.1:{admin}", "--ops-listen", f"127.0.0.1:{ops}"]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)
        self.url = f"http://127.0.0.1:{self.port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(self.url + "/_health/ready", timeout=2)
                return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    with open(self.log.name) as log:
                        sys.exit(f"the cluster is not ready: {error}; its log ends so:\n{log.read()[-2000:]}")
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
