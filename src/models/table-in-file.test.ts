import { expect, test } from "bun:test";
import { truncate } from "node:fs/promises";
import { Checkpoint } from "../files/safetensors/checkpoint.ts";
import { roundFromF32 } from "../files/safetensors/numbers.ts";
import { fileBytes, tensorEntry } from "../files/safetensors/testing/files.ts";
import { TemporaryFolder } from "../files/testing/folder.ts";
import { TableInFile } from "./table-in-file.ts";
import { tableInFile } from "./tensor-plan.ts";

test.each(["F32", "F16", "BF16"] as const)(
  "rows of %s are read where they are wanted, and no others",
  async (dtype) => {
    await using folder = await TemporaryFolder.create();
    const [rows, cols] = [7, 12];
    const values = Float32Array.from({ length: rows * cols }, (_, at) => (at % 50) / 4);
    const size = dtype === "F32" ? 4 : 2;
    const bytes = new Uint8Array(4 + values.length * size);
    roundFromF32(values, dtype, bytes.subarray(4));
    const header = { other: tensorEntry("F32", [1], 0, 4), table: tensorEntry(dtype, [rows, cols], 4, bytes.length) };
    await Bun.write(folder.at("model.safetensors"), fileBytes(header, bytes));
    await using checkpoint = await Checkpoint.open(folder.path);
    const table = new TableInFile(checkpoint, tableInFile(cols, ["table", [rows, cols]]));
    expect(table.rows([3], 1)).toEqual(new Float32Array(cols));
    await table.open();
    const ids = [6, 0, 6, 3];
    const wanted = ids.flatMap((id) => Array.from(values.subarray(id * cols, (id + 1) * cols), (value) => 2 * value));
    expect(Array.from(table.rows(ids, 2))).toEqual(wanted);
    await truncate(folder.at("model.safetensors"), (checkpoint.files[0]?.size ?? NaN) - 1);
    expect(Array.from(table.rows([5], 2))).toEqual(
      Array.from(values.subarray(5 * cols, 6 * cols), (value) => 2 * value),
    );
    expect(() => table.rows([6], 1)).toThrow("it has become shorter since it was opened");
    table.close();
  },
);
