import { expect, test } from "bun:test";
import { parseLossless } from "./lossless-json.ts";
import { pythonJson, pythonStrip } from "./python-json.ts";

test("what json.dumps of Python 3.13 writes with indent=4", () => {
  const value = parseLossless(
    '{"a":"é \u2028 😀 \u007f \\u0001 \\" \\\\ / \\n","b":[],"c":{},"d":[1,2.5,true,null,{"x":[]}],"e":-0.0}',
  );
  expect(pythonJson(value, 4)).toBe(
    '{\n    "a": "\\u00e9 \\u2028 \\ud83d\\ude00 \\u007f \\u0001 \\" \\\\ / \\n",\n    "b": [],\n    "c": {},\n    "d": [\n        1,\n' +
      '        2.5,\n        true,\n        null,\n        {\n            "x": []\n        }\n    ],\n    "e": -0.0\n}',
  );
  expect(pythonJson([], 4)).toBe("[]");
});

test("strips what str.isspace of Python 3.13 says", () => {
  const spaces = [
    [9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 133, 160, 5760, 8192, 8193, 8194, 8195, 8196, 8197, 8198, 8199, 8200],
    [8201, 8202, 8232, 8233, 8239, 8287, 12288],
  ].flat();
  const found = Array.from({ length: 65536 }, (_, code) => code).filter((code) => {
    return pythonStrip(String.fromCharCode(code)) === "";
  });
  expect(found).toEqual(spaces);
  expect(pythonStrip(" \n\u001c a b\u0085\t")).toBe("a b");
  expect(pythonStrip("\ufeffa")).toBe("\ufeffa");
  expect(pythonStrip(" ".repeat(9))).toBe("");
});
