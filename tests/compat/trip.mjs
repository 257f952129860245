// A round trip of the AWS SDK for JavaScript v3 with its default settings; the endpoint and the key come from the environment.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand,
  PutObjectCommand, S3Client, paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const Bucket = process.argv[2];
const s3 = new S3Client({ forcePathStyle: true });
const send = (command) => s3.send(command);
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
const large = Buffer.alloc((20 << 20) + 7, (i) => i);
for (let at = 0; at < large.length; at += 4096) large.writeUInt32LE(at, Math.min(at, large.length - 4));

await send(new CreateBucketCommand({ Bucket }));
await new Upload({ client: s3, params: { Bucket, Key: "in/large", Body: large, Metadata: { a: "1" } } }).done();
const back = await send(new GetObjectCommand({ Bucket, Key: "in/large" }));
assert.equal(hash(await back.Body.transformToByteArray()), hash(large));
assert.equal(back.Metadata.a, "1");

await send(new PutObjectCommand({ Bucket, Key: "in/once", Body: "first", IfNoneMatch: "*" }));
const second = new PutObjectCommand({ Bucket, Key: "in/once", Body: "second", IfNoneMatch: "*" });
await assert.rejects(send(second), (error) => error.name === "PreconditionFailed");
await assert.rejects(send(new GetObjectCommand({ Bucket, Key: "none" })), (error) => error.name === "NoSuchKey");
assert.equal((await send(new HeadObjectCommand({ Bucket, Key: "in/once" }))).ContentLength, 5);

const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "in/once" }), { expiresIn: 60 });
assert.equal(await (await fetch(url)).text(), "first");
const post = await createPresignedPost(s3, {
  Bucket, Key: "in/${filename}", Fields: { acl: "private" }, Expires: 60,
  Conditions: [["content-length-range", 1, 100], { acl: "private" }],
});
const form = new FormData();
for (const [name, value] of Object.entries(post.fields)) form.append(name, value);
form.append("file", new Blob(["posted"]), "form.txt");
assert.equal((await fetch(post.url, { method: "POST", body: form })).status, 204);
const posted = await send(new GetObjectCommand({ Bucket, Key: "in/form.txt" }));
assert.equal(await posted.Body.transformToString(), "posted");

const keys = [];
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket, Prefix: "in/" })) {
  keys.push(...(page.Contents ?? []).map(({ Key }) => ({ Key })));
}
assert.deepEqual(keys.map(({ Key }) => Key), ["in/form.txt", "in/large", "in/once"]);
const gone = await send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys } }));
assert.equal(gone.Deleted.length, 3);
await send(new DeleteBucketCommand({ Bucket }));
console.log("done");
