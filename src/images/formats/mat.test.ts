import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RandloraError } from "../../errors.ts";
import { refusalOf } from "../../files/testing/folder.ts";
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
      { seed: 5, numRuns: 500 },
    );
  });
});
