"""Round trips of libraries for Python."""

import filecmp
import threading
import urllib.request

from bench import ACCESS, LIMIT, MIB, REGION, SECRET, Absent


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


def pyiceberg_(bench):
    """Apache Iceberg: two writers race to commit to one table; every commit counts once, and old snapshots can be read"""
    try:
        import pyarrow
        from pyiceberg.catalog.sql import SqlCatalog
        from pyiceberg.exceptions import CommitFailedException
    except ImportError as error:
        raise Absent from error
    bench.s3().create_bucket(Bucket=bench.bucket)
    settings = {
        "uri": f"sqlite:///{bench.path('catalog.db')}", "warehouse": f"s3://{bench.bucket}/warehouse",
        "s3.endpoint": bench.url, "s3.access-key-id": ACCESS, "s3.secret-access-key": SECRET, "s3.region": REGION,
    }  # fmt: skip
    catalog = SqlCatalog("compat", **settings)
    catalog.create_namespace("space")

    def rows(writer, batch):
        return pyarrow.table({"writer": [writer] * 10, "batch": [batch] * 10})

    table = catalog.create_table("space.table", schema=rows(0, 0).schema)
    table.append(rows(0, 0))
    failures, lost = [], []

    def write(writer):
        own = SqlCatalog("compat", **settings)
        batch = 0
        try:
            while batch < 5:
                try:
                    own.load_table("space.table").append(rows(writer, batch))
                    batch += 1
                except CommitFailedException:
                    lost.append(writer)
        except Exception as error:  # told below, by the thread that can fail
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(LIMIT)
    assert not failures, failures
    table = catalog.load_table("space.table")
    assert table.scan().to_arrow().num_rows == 110, (table.scan().to_arrow().num_rows, lost)
    assert table.scan(row_filter="writer = 1").to_arrow().num_rows == 50
    first = table.history()[0].snapshot_id
    assert table.scan(snapshot_id=first).to_arrow().num_rows == 10
    catalog.drop_table("space.table")
