import {
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { RandloraError } from "../../errors.ts";
import { naming, oneLine, quote } from "../../files/failure.ts";
import { isJsonObject } from "../../files/json.ts";
import { classify, type GivenLabel } from "./labels.ts";
import { RowCache } from "./row-cache.ts";
import { type PictureSet, type Source, textsOf } from "./types.ts";

type File = Awaited<ReturnType<typeof asyncBufferFromFile>>;

/** Rows that are decoded together, and where they begin in their file and in the set. */
interface Group {
  readonly file: File;
  readonly metadata: FileMetaData;
  readonly name: string;
  readonly rowStart: number;
  readonly rowEnd: number;
  readonly first: number;
}

const HINT = "pictures in parquet have the columns image ({bytes, path}) and label";

/**
 * Reads pictures in the Hub's parquet: `image`, the bytes of a picture's file, and `label`, whose names stand in the schema's
 * metadata. Labels are read at once, pictures a group of rows at a time; the last groups are kept.
 *
 * @param paths of the shards, in order
 * @throws {RandloraError} `file` when one cannot be read, `format` when it is broken, `data` without the columns or for a
 *   label that is no class
 */
export async function readParquetPictures(paths: readonly string[], known?: readonly string[]): Promise<PictureSet> {
  const groups: Group[] = [];
  const given: GivenLabel[] = [];
  let names: readonly string[] | undefined;
  for (const path of paths) {
    const name = oneLine(path);
    const file = await naming(path, "read", asyncBufferFromFile(path));
    const metadata = await explaining(name, parquetMetadataAsync(file));
    // A broken file may have columns without a name, whatever the type says.
    const columns = parquetSchema(metadata).children.map(({ element }) => String(element.name));
    for (const column of ["image", "label"]) {
      if (columns.includes(column)) continue;
      throw new RandloraError("data", `${name}: no column ${column} beside ${columns.map(quote).join(", ")}`, HINT);
    }
    names ??= namesIn(metadata);
    let rowStart = 0;
    for (const { num_rows } of metadata.row_groups) {
      const rowEnd = rowStart + Number(num_rows);
      groups.push({ file, metadata, name, rowStart, rowEnd, first: given.length });
      const labels = await explaining(
        name,
        parquetReadObjects({ file, metadata, columns: ["label"], rowStart, rowEnd, compressors }),
      );
      for (const [i, row] of labels.entries()) given.push(givenLabel(row["label"], name, rowStart + i + 1));
      rowStart = rowEnd;
    }
  }
  const path = oneLine(paths[0] ?? "");
  if (given.length === 0) throw new RandloraError("data", `${path}: no pictures`);
  const { classes, labels } = inOrderOf(classify(given, path, names), path, known);
  const cache = new RowCache((group: Group) => readPictures(group));
  return {
    path,
    classes,
    texts: textsOf(classes),
    labels,
    upright: true,
    files: paths,
    source: async (index): Promise<Source> => {
      const group = groups.findLast(({ first }) => first <= index) as Group;
      const rows = await cache.get(group);
      const row = index - group.first;
      const name = `${group.name}: row ${group.rowStart + row + 1}`;
      const bytes = rows[row];
      if (bytes === undefined || bytes.length === 0)
        throw new RandloraError("data", `${name}: no bytes of a picture`, HINT);
      return { name, from: { bytes } };
    },
  };
}

/** The same labels among classes that were known before, whose order may be another one. */
function inOrderOf(
  { classes, labels }: { readonly classes: readonly string[]; readonly labels: Uint32Array },
  path: string,
  known: readonly string[] | undefined,
): { readonly classes: readonly string[]; readonly labels: Uint32Array } {
  if (known === undefined) return { classes, labels };
  const named = Array.from(labels, (label, i) => ({ place: `row ${i + 1}`, label: classes[label] ?? "" }));
  return classify(named, path, known);
}

function givenLabel(label: unknown, name: string, row: number): GivenLabel {
  const place = `row ${row}`;
  if (typeof label === "string" || typeof label === "number") return { place, label };
  if (typeof label === "bigint") return { place, label: Number(label) };
  throw new RandloraError("data", `${name}: ${place}: no label`, HINT);
}

/** A ClassLabel's names: `datasets` writes its features as JSON beside the schema. */
function namesIn(metadata: FileMetaData): readonly string[] | undefined {
  const text = metadata.key_value_metadata?.find(({ key }) => key === "huggingface")?.value;
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  for (const key of ["info", "features", "label", "names"]) value = isJsonObject(value) ? value[key] : undefined;
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const names: unknown[] = value;
  return names.every((name) => typeof name === "string") ? names : undefined;
}

async function readPictures({ file, metadata, name, rowStart, rowEnd }: Group): Promise<Uint8Array[]> {
  // Without this, columns of bytes come as text.
  const options = { file, metadata, columns: ["image"], rowStart, rowEnd, compressors, utf8: false };
  const rows = await explaining(name, parquetReadObjects(options));
  return rows.map(({ image }) => {
    const bytes: unknown = isJsonObject(image) ? image["bytes"] : image;
    return bytes instanceof Uint8Array ? bytes : new Uint8Array();
  });
}

async function explaining<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    if (thrown instanceof RandloraError) throw thrown;
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new RandloraError("format", `${name}: not a parquet file that can be read: ${reason}`, "fetch it again", {
      cause: thrown,
    });
  }
}
