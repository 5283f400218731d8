import { expect, test } from "bun:test";
import { RandloraError } from "./errors.ts";

test("an error carries its code, its hint and its cause", () => {
  const cause = new Error("ENOENT");
  const error = new RandloraError("file", "model.safetensors: no such file", "check the path", { cause });
  expect(error).toBeInstanceOf(Error);
  expect([error.code, error.message, error.hint, error.cause]).toEqual([
    "file",
    "model.safetensors: no such file",
    "check the path",
    cause,
  ]);
});
