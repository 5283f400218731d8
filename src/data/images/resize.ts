import { blank, crop, type Image } from "./image.ts";

/** The filters that transformers' processors name (`resample` 1, 2, 3 and 4). */
export type Filter = "lanczos" | "bilinear" | "bicubic" | "box";

interface Kernel {
  /** The weight of a pixel that lies x output pixels (input pixels, where an image grows) from the centre. */
  readonly weight: (x: number) => number;
  /** Beyond this distance weights are 0. */
  readonly support: number;
}

const KERNELS: Readonly<Record<Filter, Kernel>> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Keys' cubic convolution with a = −1/2. */
function bicubic(signed: number): number {
  const a = -0.5;
  const x = Math.abs(signed);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Weights are whole numbers of 2^-22. */
const BITS = 22;

/** Which input pixels make output pixels `first` … `first + count − 1` of one axis, and how much of each. */
interface Taps {
  /** The first input pixel of each. */
  readonly start: Int32Array;
  /** Number of input pixels of each. */
  readonly count: Int32Array;
  /** `width` weights for each. */
  readonly weights: Int32Array;
  readonly width: number;
}

function tapsOf(input: number, output: number, { weight, support }: Kernel, first: number, length: number): Taps {
  const scale = input / output;
  const stretch = Math.max(1, scale);
  const reach = support * stretch;
  const width = Math.ceil(reach) * 2 + 1;
  const start = new Int32Array(length);
  const count = new Int32Array(length);
  const weights = new Int32Array(length * width);
  const exact = new Float64Array(width);
  for (let i = 0; i < length; i++) {
    const centre = (first + i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(centre - reach + 0.5));
    const taps = Math.min(input, Math.trunc(centre + reach + 0.5)) - from;
    let sum = 0;
    for (let k = 0; k < taps; k++) {
      const value = weight((k + from - centre + 0.5) * (1 / stretch));
      exact[k] = value;
      sum += value;
    }
    for (let k = 0; k < taps; k++) {
      const value = (sum === 0 ? (exact[k] as number) : (exact[k] as number) / sum) * 2 ** BITS;
      weights[i * width + k] = Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
    }
    start[i] = from;
    count[i] = taps;
  }
  return { start, count, weights, width };
}

/** The part of a resized image that is wanted. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Resizes as Pillow 13 does, bit for bit (`Image.resize` without `reducing_gap`; src/libImaging/Resample.c): weights in fixed
 * point, one axis after the other, 8 bits in between; an axis whose size stays is left alone. Rows come first, but where the
 * height loses more than twice as many pixels as the width. (Up to Pillow 12 rows always come first.)
 *
 * @param window the part of the result that is wanted, inside of it; memory and time follow it, not the whole result
 */
export function resize(
  image: Image,
  width: number,
  height: number,
  filter: Filter,
  window: Window = { left: 0, top: 0, width, height },
): Image {
  const rows = axisOf(image.width, width, filter, window.left, window.width);
  const columns = axisOf(image.height, height, filter, window.top, window.height);
  const part = crop(image, { left: rows.first, right: rows.end, top: columns.first, bottom: columns.end });
  const columnsFirst = height < image.height && image.height - height > 2 * (image.width - width);
  return columnsFirst ? resizeRows(resizeColumns(part, columns), rows) : resizeColumns(resizeRows(part, rows), columns);
}

/** One axis of a resize: the pixels of the input that are read, and how. */
interface Axis {
  readonly first: number;
  readonly end: number;
  /** Counted from `first`; undefined where the size stays. */
  readonly taps: Taps | undefined;
}

function axisOf(input: number, output: number, filter: Filter, first: number, length: number): Axis {
  if (input === output) return { first, end: first + length, taps: undefined };
  const taps = tapsOf(input, output, KERNELS[filter], first, length);
  const [start, last] = [taps.start[0] as number, length - 1];
  const end = (taps.start[last] as number) + (taps.count[last] as number);
  return { first: start, end, taps: { ...taps, start: taps.start.map((at) => at - start) } };
}

function resizeRows(image: Image, { taps }: Axis): Image {
  if (taps === undefined) return image;
  const { start, count, weights, width } = taps;
  const result = blank(start.length, image.height);
  const { data } = image;
  let at = 0;
  for (let y = 0; y < image.height; y++) {
    const row = y * image.width;
    for (let x = 0; x < start.length; x++) {
      let from = (row + (start[x] as number)) * 3;
      const first = x * width;
      const end = first + (count[x] as number);
      let red = 1 << (BITS - 1);
      let green = red;
      let blue = red;
      for (let k = first; k < end; k++, from += 3) {
        const weight = weights[k] as number;
        red += (data[from] as number) * weight;
        green += (data[from + 1] as number) * weight;
        blue += (data[from + 2] as number) * weight;
      }
      result.data[at++] = clipped(red);
      result.data[at++] = clipped(green);
      result.data[at++] = clipped(blue);
    }
  }
  return result;
}

function resizeColumns(image: Image, { taps }: Axis): Image {
  if (taps === undefined) return image;
  const { start, count, weights, width } = taps;
  const result = blank(image.width, start.length);
  const rowBytes = image.width * 3;
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < start.length; y++) {
    sums.fill(1 << (BITS - 1));
    for (let k = 0; k < (count[y] as number); k++) {
      const weight = weights[y * width + k] as number;
      const from = ((start[y] as number) + k) * rowBytes;
      for (let i = 0; i < rowBytes; i++) {
        sums[i] = (sums[i] as number) + (image.data[from + i] as number) * weight;
      }
    }
    for (let i = 0; i < rowBytes; i++) result.data[y * rowBytes + i] = clipped(sums[i] as number);
  }
  return result;
}

/** A sum in fixed point as 8 bits. */
function clipped(sum: number): number {
  const value = sum >> BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
