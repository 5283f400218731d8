import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { fromGrey } from "../formats/netpbm.ts";
import { viewOf } from "../formats/bytes.ts";
import { isFile } from "../datasets/files.ts";
import { pixelSet, readPixels } from "../datasets/pixels.ts";
import { DIGIT_TEMPLATES, DIGITS } from "./digits.ts";
import { type NamedSet, TRAIN_TEST, wrong } from "./types.ts";

const [IMAGES, LABELS] = [0x0803, 0x0801];
const MOST_BYTES = 2 ** 30;

/** MNIST in its own files (idx), unpacked as torchvision keeps them, or packed. */
export const mnist: NamedSet = {
  name: "MNIST",
  splits: TRAIN_TEST,
  templates: DIGIT_TEMPLATES,
  async open(root, split) {
    const stem = join(root, "MNIST", "raw", split === "train" ? "train" : "t10k");
    const images = await readIdx(`${stem}-images-idx3-ubyte`, IMAGES);
    const labels = await readIdx(`${stem}-labels-idx1-ubyte`, LABELS);
    const [count = 0, height = 0, width = 0] = images.dims;
    if (labels.dims[0] !== count) throw wrong(labels.path, `${labels.dims[0]} labels for ${count} images`);
    const size = width * height;
    return pixelSet(images.path, DIGITS, labels.data, (index) =>
      fromGrey(images.data.subarray(index * size, (index + 1) * size), width, height),
    );
  },
};

async function readIdx(stem: string, magic: number): Promise<{ path: string; dims: number[]; data: Uint8Array }> {
  const packed = !(await isFile(stem)) && (await isFile(`${stem}.gz`));
  const path = packed ? `${stem}.gz` : stem;
  let bytes = await readPixels(path);
  try {
    if (packed) bytes = gunzipSync(bytes, { maxOutputLength: MOST_BYTES });
  } catch {
    throw wrong(path, "it cannot be unpacked");
  }
  if (bytes.length < 4 || viewOf(bytes).getUint32(0) !== magic) throw wrong(path, "not an idx file of bytes");
  const count = magic & 0xff;
  const start = 4 + 4 * count;
  if (bytes.length < start) throw wrong(path, "it is cut short");
  const dims = Array.from({ length: count }, (_, i) => viewOf(bytes).getUint32(4 + 4 * i));
  if (dims.reduce((product, size) => product * size, 1) !== bytes.length - start) throw wrong(path, "it is cut short");
  return { path, dims, data: bytes.subarray(start) };
}
