import { type DataSet, type DataTotals, type Sample, SAMPLE_FORMATS, type SampleFormat } from "./types.ts";

/** Token ids and mask of one sample, before cutting. */
export interface EncodedSample {
  readonly ids: ArrayLike<number>;
  readonly supervised: ArrayLike<number>;
  readonly format: SampleFormat;
}

/** What is known of a file beside the samples that were kept. */
interface Reading extends Pick<DataTotals, "cut" | "dropped" | "unknownRoles"> {
  readonly format: SampleFormat;
}

/** Where a sample begins, how long it is, what it holds: one entry of each array a sample. */
interface Index {
  readonly starts: Float64Array;
  readonly lengths: Uint32Array;
  readonly supervised: Uint32Array;
  readonly lines: Uint32Array;
  /** Numbers in `SAMPLE_FORMATS`. */
  readonly formats: Uint32Array;
}

/** Samples in flat arrays: five bytes a token, whatever the number of samples. */
class StoredDataSet implements DataSet {
  readonly path: string;
  readonly totals: DataTotals;
  readonly format: SampleFormat;
  readonly #ids: Uint32Array;
  readonly #mask: Uint8Array;
  readonly #index: Index;

  constructor(path: string, ids: Uint32Array, mask: Uint8Array, index: Index, { format, ...lost }: Reading) {
    this.path = path;
    this.format = format;
    this.#ids = ids;
    this.#mask = mask;
    this.#index = index;
    const { lengths, supervised } = index;
    this.totals = {
      samples: lengths.length,
      tokens: lengths.reduce((sum, n) => sum + n, 0),
      supervisedTokens: supervised.reduce((sum, n) => sum + n, 0),
      longest: lengths.reduce((most, n) => Math.max(most, n), 0),
      ...lost,
    };
  }

  get length(): number {
    return this.#index.lengths.length;
  }

  lengthOf(i: number): number {
    return at(this.#index.lengths, i);
  }

  supervisedOf(i: number): number {
    return at(this.#index.supervised, i);
  }

  sample(i: number): Sample {
    const start = at(this.#index.starts, i);
    const end = start + at(this.#index.lengths, i);
    return {
      ids: this.#ids.subarray(start, end),
      supervised: this.#mask.subarray(start, end),
      line: at(this.#index.lines, i),
      format: SAMPLE_FORMATS[at(this.#index.formats, i)] ?? "text",
    };
  }

  /** The samples at these indices, which share this set's arrays. What was cut or dropped stays with the whole. */
  select(indices: readonly number[]): StoredDataSet {
    const pick = <T extends Uint32Array | Float64Array>(from: T, into: T): T => {
      for (const [k, i] of indices.entries()) into[k] = at(from, i);
      return into;
    };
    const { starts, lengths, supervised, lines, formats } = this.#index;
    const index = {
      starts: pick(starts, new Float64Array(indices.length)),
      lengths: pick(lengths, new Uint32Array(indices.length)),
      supervised: pick(supervised, new Uint32Array(indices.length)),
      lines: pick(lines, new Uint32Array(indices.length)),
      formats: pick(formats, new Uint32Array(indices.length)),
    };
    return new StoredDataSet(this.path, this.#ids, this.#mask, index, {
      format: this.format,
      cut: 0,
      dropped: 0,
      unknownRoles: [],
    });
  }
}

export type { StoredDataSet };

function at(array: Uint32Array | Float64Array, i: number): number {
  const value = array[i];
  if (value === undefined) throw new RangeError(`no sample ${i} among ${array.length}`);
  return value;
}

/** Collects encoded samples: cuts what is too long, leaves out what has no supervised tokens, counts both. */
export class DataSetBuilder {
  readonly #maxLength: number;
  readonly #starts: number[] = [];
  readonly #lengths: number[] = [];
  readonly #supervised: number[] = [];
  readonly #lines: number[] = [];
  #ids = new Uint32Array(1 << 12);
  #mask = new Uint8Array(1 << 12);
  #used = 0;
  readonly #formats: number[] = [];
  #cut = 0;
  #dropped = 0;

  /** @param maxLength most tokens of a sample; the rest, on the right, is cut */
  constructor(maxLength: number) {
    this.#maxLength = maxLength;
  }

  /** Samples kept so far. */
  get length(): number {
    return this.#lengths.length;
  }

  /** @param line where the sample stands in its file, from 1 */
  add({ ids, supervised, format }: EncodedSample, line: number): void {
    const length = Math.min(ids.length, this.#maxLength);
    if (length < ids.length) this.#cut++;
    this.#reserve(length);
    let targets = 0;
    for (let t = 0; t < length; t++) {
      this.#ids[this.#used + t] = ids[t] ?? 0;
      // Nothing predicts the first token of a sample.
      const target = t > 0 && supervised[t] === 1 ? 1 : 0;
      this.#mask[this.#used + t] = target;
      targets += target;
    }
    if (targets === 0) {
      this.#dropped++;
      return;
    }
    this.#starts.push(this.#used);
    this.#lengths.push(length);
    this.#supervised.push(targets);
    this.#lines.push(line);
    this.#formats.push(SAMPLE_FORMATS.indexOf(format));
    this.#used += length;
  }

  /** @param path the file, for messages */
  build(path: string, unknownRoles: readonly string[] = []): StoredDataSet {
    const index = {
      starts: Float64Array.from(this.#starts),
      lengths: Uint32Array.from(this.#lengths),
      supervised: Uint32Array.from(this.#supervised),
      lines: Uint32Array.from(this.#lines),
      formats: Uint32Array.from(this.#formats),
    };
    const format = SAMPLE_FORMATS.find((_, number) => this.#formats.includes(number)) ?? "text";
    const reading = { format, cut: this.#cut, dropped: this.#dropped, unknownRoles };
    return new StoredDataSet(path, this.#ids.slice(0, this.#used), this.#mask.slice(0, this.#used), index, reading);
  }

  #reserve(length: number): void {
    const needed = this.#used + length;
    if (needed <= this.#ids.length) return;
    const size = Math.max(needed, this.#ids.length * 2);
    const ids = new Uint32Array(size);
    ids.set(this.#ids);
    const mask = new Uint8Array(size);
    mask.set(this.#mask);
    this.#ids = ids;
    this.#mask = mask;
  }
}
