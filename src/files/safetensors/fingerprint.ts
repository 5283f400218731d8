import type { Checkpoint } from "./checkpoint.ts";

const SAMPLE_BYTES = 256;

/**
 * SHA-256 of what tells one checkpoint from another without reading it whole: names, dtypes and shapes of all tensors,
 * and of each some bytes of its beginning, middle and end. How they are spread over files does not matter.
 * @throws RandloraError `file`
 */
export async function fingerprint(checkpoint: Checkpoint): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  const stored = checkpoint.files.flatMap((file) => file.header.tensors.map((info) => ({ file, info })));
  for (const { file, info } of stored.toSorted((a, b) => (a.info.name < b.info.name ? -1 : 1))) {
    const { name } = info;
    hash.update(`${JSON.stringify([name, info.dtype, info.shape])}\n`);
    const sample = new Uint8Array(Math.min(SAMPLE_BYTES, info.bytes));
    const last = info.bytes - sample.length;
    for (const start of [0, Math.floor(last / 2), last]) {
      await file.read(info, sample, start);
      hash.update(sample);
    }
  }
  return hash.digest("hex");
}
