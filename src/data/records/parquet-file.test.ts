import { describe, expect, test } from "bun:test";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { ParquetFile } from "./parquet-file.ts";
import { readParquetRecords } from "./records.ts";

/** A number as Thrift's compact protocol writes it: zigzag, seven bits a byte. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt(value) << 1n;
  if (value < 0) rest = -rest - 1n;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

const TEXT = [0x18, 4, 0x74, 0x65, 0x78, 0x74];

/** A file of a column `text`, of bytes and of groups as the footer has them. */
function fileOf(
  rows: number,
  groups: readonly (readonly number[])[],
  data = new Uint8Array(),
): Uint8Array<ArrayBuffer> {
  const root = [0x48, 1, 0x73, 0x15, 2, 0];
  const column = [0x15, 12, 0x25, 0, ...TEXT, 0x25, 0, 0];
  const list = [0x19, (groups.length << 4) | 12, ...groups.flat()];
  const footer = Uint8Array.from([0x15, 2, 0x19, 0x2c, ...root, ...column, 0x16, ...varint(rows), ...list, 0]);
  const length = new Uint8Array(Uint32Array.of(footer.length).buffer);
  return new Uint8Array(Buffer.concat([Buffer.from("PAR1"), data, footer, length, Buffer.from("PAR1")]));
}

/** One with groups of which it is only said how many rows they have. */
function claiming(...groups: readonly number[]): Uint8Array<ArrayBuffer> {
  const group = (rows: number) => [0x19, 0x0c, 0x16, 0, 0x16, ...varint(rows), 0];
  return fileOf(
    groups.reduce((sum, rows) => sum + rows, 0),
    groups.map(group),
  );
}

/** One with a row: a text of so many bytes in one Zstandard page, of which another size is said. */
function compressed(bytes: number, said = bytes + 4): Uint8Array<ArrayBuffer> {
  const page = Buffer.alloc(bytes + 4, "a");
  page.writeUInt32LE(bytes);
  const packed = Bun.zstdCompressSync(page);
  const int = (value: number) => [0x15, ...varint(value)];
  const long = (value: number) => [0x16, ...varint(value)];
  const header = [
    ...int(0),
    ...int(said),
    ...int(packed.length),
    0x2c,
    ...int(1),
    ...int(0),
    ...int(3),
    ...int(3),
    0,
    0,
  ];
  const data = new Uint8Array(Buffer.concat([Uint8Array.from(header), packed]));
  const [type, encodings, path, codec] = [int(6), [0x19, 0x15, 0], [0x19, 0x18, ...TEXT.slice(1)], int(6)];
  const sizes = [...long(1), ...long(said), ...long(data.length), 0x26, ...varint(4)];
  const chunk = [0x26, 0, 0x1c, ...type, ...encodings, ...path, ...codec, ...sizes, 0, 0];
  return fileOf(1, [[0x19, 0x1c, ...chunk, ...long(said), ...long(1), 0]], data);
}

describe("pages", () => {
  test.each([
    ["a text within the bound", compressed(3), undefined],
    ["a text longer than a record may be", compressed(2 ** 26 + 1), /a text of more than 64 MiB$/],
    ["more than a group may hold", compressed(3, 2 ** 30 + 1), /a group of rows with more than 1 GiB of pages$/],
    ["more than is said of it", compressed(2 ** 20, 10), /not a parquet file that can be read/],
  ])("that hold %s", async (_, bytes, refused) => {
    await using folder = await TemporaryFolder.with({ "x.parquet": bytes });
    const read = async () => await Array.fromAsync(readParquetRecords(folder.at("x.parquet"), ["text"]));
    if (refused === undefined) expect(await read()).toMatchObject([{ fields: { text: "aaa" } }]);
    else expect(await refusalOf(read)).toMatchObject({ message: expect.stringMatching(refused) });
  });
});

describe("groups", () => {
  test("follow each other", async () => {
    await using folder = await TemporaryFolder.create();
    await Bun.write(folder.at("x.parquet"), claiming(3, 0, 2 ** 24));
    const { columns, groups } = await ParquetFile.open(folder.at("x.parquet"));
    expect(columns).toEqual(["text"]);
    expect(groups).toEqual([
      { rowStart: 0, rowEnd: 3 },
      { rowStart: 3, rowEnd: 3 },
      { rowStart: 3, rowEnd: 3 + 2 ** 24 },
    ]);
  });

  test.each([2 ** 24 + 1, 2 ** 32, 2 ** 53 - 1, -1])("of %d rows are refused before anything is read", async (rows) => {
    await using folder = await TemporaryFolder.create();
    await Bun.write(folder.at("x.parquet"), claiming(3, rows));
    const refusal = await refusalOf(() => ParquetFile.open(folder.at("x.parquet")));
    expect(refusal).toMatchObject({ code: "data", message: `${folder.at("x.parquet")}: a group of ${rows} rows` });
  });
});
