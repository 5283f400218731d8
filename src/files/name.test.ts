import { expect, test } from "bun:test";
import { staysInFolder } from "./name.ts";

test("names of files within a folder", () => {
  const names = [
    "model.safetensors",
    "a/b/c.json",
    ".gitattributes",
    "..a",
    "a b.txt",
    "é.json",
    "console.json",
    "a.con",
  ];
  expect(names.filter((name) => !staysInFolder(name))).toEqual([]);
});

test.each([
  ["paths", ["", "/a", "a//b", "a/", ".", "..", "../a", "a/../../b", "a/..", "./a"]],
  ["Windows' paths", ["..\\a", "a\\..\\b", "\\\\server\\a", "C:a", "C:/a", "a:stream"]],
  ["control characters", ["a\0", "a\nb"]],
  ["names that Windows shortens", [".. /a", "... /a", "a."]],
  ["devices", ["nul", "NUL.safetensors", "a/con", "com1.json", "AUX .txt", "lpt¹"]],
])("names that leave it on some system: %s", (_, names) => {
  expect(names.filter((name) => staysInFolder(name))).toEqual([]);
});
