import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  type ParquetParsers,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { stat } from "node:fs/promises";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { RandloraError } from "../../files/errors.ts";
import { naming, oneLine } from "../../files/failure.ts";

/** Rows of a group at most: they are in memory together, and a few bytes may say that there are any number. */
const MOST_GROUP_ROWS = 2 ** 24;

/** Bytes of the pages of a group at most, decompressed: some kilobytes may hold any number. */
const MOST_GROUP_BYTES = 2 ** 30;

/** What decompresses the pages of a group. @throws {RandloraError} `data` for more than {@link MOST_GROUP_BYTES} together */
function boundedCompressors(name: string): Compressors {
  // The library's own believe what these formats say of themselves, whatever the page's header says.
  const all: Compressors = {
    ...compressors,
    GZIP: (input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) }),
    BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
    ZSTD: (input, length) => zstdDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
  };
  let sum = 0;
  const bounded = Object.entries(all).map(([codec, decompress]) => {
    return [
      codec,
      (input: Uint8Array, length: number) => {
        sum += length;
        if (sum <= MOST_GROUP_BYTES) return decompress(input, length);
        const cause = `${name}: a group of rows with more than ${MOST_GROUP_BYTES / 2 ** 30} GiB of pages`;
        throw new RandloraError("data", cause, "write it with fewer rows in each group");
      },
    ];
  });
  return Object.fromEntries(bounded) as Compressors; // the same keys
}

/** Rows that are decoded together: numbers `rowStart` to before `rowEnd` of the file. */
export interface RowGroup {
  readonly rowStart: number;
  readonly rowEnd: number;
}

/** How bytes become values. */
interface Reading {
  readonly parsers?: Partial<ParquetParsers>;
  /** Columns of bytes are texts, whatever the schema says (true by default). */
  readonly utf8?: boolean;
}

/** A parquet file whose metadata have been read. It is opened for each reading, and so needs no closing. */
export class ParquetFile {
  /** Fit to be printed. */
  readonly name: string;
  readonly columns: readonly string[];
  readonly groups: readonly RowGroup[];
  readonly #file: AsyncBuffer;
  readonly #metadata: FileMetaData;

  private constructor(name: string, file: AsyncBuffer, metadata: FileMetaData) {
    this.name = name;
    this.#file = file;
    this.#metadata = metadata;
    // A broken file may have columns without a name, whatever the type says.
    this.columns = parquetSchema(metadata).children.map(({ element }) => String(element.name));
    let rowEnd = 0;
    this.groups = metadata.row_groups.map(({ num_rows }) => {
      const [rowStart, rows] = [rowEnd, Number(num_rows)];
      if (!(rows >= 0 && rows <= MOST_GROUP_ROWS)) {
        const hint = `write groups of at most ${MOST_GROUP_ROWS.toLocaleString("en")} rows`;
        throw new RandloraError("data", `${name}: a group of ${rows} rows`, hint);
      }
      rowEnd += rows;
      return { rowStart, rowEnd };
    });
  }

  /** @throws {RandloraError} `file` when it cannot be read, `format` when it is broken, `data` for groups that are too large */
  static async open(path: string): Promise<ParquetFile> {
    const name = oneLine(path);
    const { size } = await naming(path, "read", stat(path));
    const file = {
      byteLength: size,
      slice: (start: number, end?: number) => Bun.file(path).slice(start, end).arrayBuffer(),
    };
    return await explaining(name, async () => new ParquetFile(name, file, await parquetMetadataAsync(file)));
  }

  /** A text of the metadata, which any writer may have left there. */
  note(name: string): string | undefined {
    return this.#metadata.key_value_metadata?.find(({ key }) => key === name)?.value;
  }

  /** Bytes of a column in all groups, as far as the metadata can be believed. */
  bytesOf(column: string): number {
    // A broken file may have neither columns nor sizes, whatever the types say.
    const chunks = this.#metadata.row_groups.flatMap(({ columns }) => columns ?? []);
    const own = chunks.filter((chunk) => chunk.meta_data?.path_in_schema?.[0] === column);
    return own.reduce((sum, chunk) => sum + Math.max(0, Number(chunk.meta_data?.total_uncompressed_size ?? 0)), 0);
  }

  /** The values of some columns. @throws {RandloraError} `format`, and what `parsers` throw */
  async rows(
    { rowStart, rowEnd }: RowGroup,
    columns: readonly string[],
    reading: Reading = {},
  ): Promise<Record<string, unknown>[]> {
    const part = { file: this.#file, metadata: this.#metadata, columns: [...columns], rowStart, rowEnd };
    const whole = { ...part, compressors: boundedCompressors(this.name), ...reading };
    return await explaining(this.name, () => parquetReadObjects(whole));
  }
}

async function explaining<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (thrown instanceof RandloraError) throw thrown;
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new RandloraError("format", `${name}: not a parquet file that can be read: ${reason}`, "fetch it again", {
      cause: thrown,
    });
  }
}
