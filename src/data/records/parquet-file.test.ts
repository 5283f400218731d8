import { describe, expect, test } from "bun:test";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { ParquetFile } from "./parquet-file.ts";

/** A number as Thrift's compact protocol writes it: zigzag, seven bits a byte. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt(value) << 1n;
  if (value < 0) rest = -rest - 1n;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

/** A file of a column `text`, with groups of which it is only said how many rows they have. */
function claiming(...groups: readonly number[]): Uint8Array<ArrayBuffer> {
  const root = [0x48, 1, 0x73, 0x15, 2, 0];
  const column = [0x15, 12, 0x25, 0, 0x18, 4, 0x74, 0x65, 0x78, 0x74, 0x25, 0, 0];
  const group = (rows: number) => [0x19, 0x0c, 0x16, 0, 0x16, ...varint(rows), 0];
  const total = [0x16, ...varint(groups.reduce((sum, rows) => sum + rows, 0))];
  const list = [0x19, (groups.length << 4) | 12, ...groups.flatMap(group)];
  const footer = Uint8Array.from([0x15, 2, 0x19, 0x2c, ...root, ...column, ...total, ...list, 0]);
  const length = new Uint8Array(Uint32Array.of(footer.length).buffer);
  return new Uint8Array(Buffer.concat([Buffer.from("PAR1"), footer, length, Buffer.from("PAR1")]));
}

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
