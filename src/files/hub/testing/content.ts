import { createHash } from "node:crypto";

/** Path → content. Bytes stand for a large file (LFS), text for a small one (git). */
export type FakeFiles = Readonly<Record<string, string | Uint8Array>>;

/** The commit under which the files are served. */
export function commitOf(repo: string, files: FakeFiles): string {
  const hash = createHash("sha1").update(repo);
  for (const [path, content] of Object.entries(files)) hash.update(`${path}\0`).update(content);
  return hash.digest("hex");
}

/** The name of the content in `blobs`. */
export function etagOf(content: string | Uint8Array): string {
  return typeof content === "string" ? gitHash(Buffer.from(content)) : sha256(content);
}

/** The file's entry in a tree, as the Hub's API gives it. */
export function entryOf(path: string, content: string | Uint8Array) {
  const size = Buffer.byteLength(content);
  if (typeof content === "string") return { type: "file", oid: etagOf(content), size, path };
  const oid = sha256(content);
  const pointer = Buffer.from(`version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${size}\n`);
  const lfs = { oid, size, pointerSize: pointer.length };
  return { type: "file", oid: gitHash(pointer), size, lfs, xetHash: sha256(Buffer.from(`xet ${oid}`)), path };
}

/** Git's object id. */
export function gitHash(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
