import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RandloraError } from "../../../files/errors.ts";
import { refusalOf } from "../../../files/testing/folder.ts";
import { setFile } from "../named/testing/replicas.ts";
import { readMat } from "./mat.ts";

describe("readMat", () => {
  test("reads every kind of value that scipy writes", () => {
    const variables = readMat(setFile("kinds.mat"), "kinds.mat");
    expect(variables.get("double")).toEqual({
      kind: "numbers",
      dims: [2, 2],
      data: new Float64Array([1.5, 3, -2, 4.25]),
    });
    expect(variables.get("single")).toEqual({ kind: "numbers", dims: [1, 1], data: new Float32Array([1.5]) });
    expect(variables.get("int16")).toEqual({ kind: "numbers", dims: [1, 2], data: new Int16Array([-5, 300]) });
    expect(variables.get("empty")).toMatchObject({ kind: "numbers", dims: [0, 0] });
    expect(variables.get("text")).toEqual({ kind: "text", text: "Käfer" });
    expect(variables.get("cells")).toEqual({
      kind: "cells",
      items: [
        { kind: "text", text: "a" },
        { kind: "numbers", dims: [1, 1], data: new Uint8Array([7]) },
      ],
    });
    const deep = { kind: "structs", items: [{ deep: { kind: "numbers", dims: [1, 1], data: new Float64Array([9]) } }] };
    expect(variables.get("struct")).toEqual({
      kind: "structs",
      items: [{ inner: deep, name: { kind: "text", text: "x" } }],
    } as never);
  });

  test("refuses other files", async () => {
    for (const text of ["", "MATLAB 7.3 MAT-file", "\x89HDF\r\n\x1a\n", "x".repeat(200)]) {
      expect((await refusalOf(() => readMat(Buffer.from(text, "latin1"), "x.mat"))).message).toStartWith(
        "x.mat: not a MATLAB",
      );
    }
  });

  test("refuses more values, fields and sizes than sets have, however small they are packed", async () => {
    const element = (type: number, data: Uint8Array) => {
      const whole = Buffer.alloc(8 + Math.ceil(data.length / 8) * 8);
      whole.writeUInt32LE(type, 0);
      whole.writeUInt32LE(data.length, 4);
      whole.set(data, 8);
      return whole;
    };
    const ints = (...values: number[]) => element(5, new Uint8Array(Int32Array.from(values).buffer));
    const file = (kind: number, dims: Uint8Array, ...rest: Uint8Array[]) => {
      const header = Buffer.alloc(128);
      header.write("MATLAB 5.0", 0);
      header.write("IM", 126);
      const array = Buffer.concat([
        element(6, Uint8Array.of(kind, 0, 0, 0, 0, 0, 0, 0)),
        dims,
        element(1, Buffer.from("x")),
        ...rest,
      ]);
      return Buffer.concat([header, element(14, array)]);
    };
    const empty = (count: number) => Buffer.alloc(count * 8, element(14, new Uint8Array()));
    expect(readMat(file(1, ints(1, 1000), empty(1000)), "x.mat").get("x")).toMatchObject({ kind: "cells" });
    for (const [problem, bytes] of [
      ["more than 1048576 values", file(1, ints(1, 2 ** 20), empty(2 ** 20))],
      ["more than 1048576 values", file(2, ints(1, 2 ** 20), ints(8), element(1, new Uint8Array()), empty(2 ** 20))],
      ["a struct of more than 1000 fields", file(2, ints(1, 1), ints(1), element(1, new Uint8Array(1001)))],
      ["an array of more than 32 dimensions", file(1, ints(...Array<number>(33).fill(1)))],
    ] as const) {
      expect((await refusalOf(() => readMat(bytes, "x.mat"))).message).toEndWith(problem);
    }
  });

  test("survives changed and missing bytes", () => {
    const files = ["kinds.mat", "cars_test_annos_withlabels.mat", "cars_meta.mat", "setid.mat"].map(setFile);
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 });
    fc.assert(
      fc.property(fc.constantFrom(...files), changes, fc.option(fc.nat()), (file, changes, length) => {
        const bytes = file.slice(0, length === null ? file.length : length % file.length);
        for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
        try {
          readMat(bytes, "x.mat");
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(RandloraError);
        }
      }),
      { numRuns: 500 },
    );
  });
});
