import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { compareFolder, DATA } from "./testing/compare.ts";
import { randlora } from "./testing/program.ts";

const folder = await compareFolder();
const compare = (...args: readonly string[]) => randlora(["compare", ...args], { cwd: folder.path });

const REFUSED: readonly (readonly [args: readonly string[], status: number, message: string, hint: string])[] = [
  [
    ["--methods", "lora+rslor"],
    2,
    `--methods lora+rslor: no flag of a method is called "rslor"`,
    "did you mean rslora?",
  ],
  [["--methods", "lora+sparse"], 2, "--sparse has no meaning with --method lora", "leave it out"],
  [
    ["--methods", "lora", "--params", "5"],
    2,
    "--params 5: no method has about so many trainable parameters",
    "lora with 640",
  ],
  [["--params", "1M,0"], 2, `--params: "1M,0" is not a count`, ""],
  [["--params", "1M", "--like", "lora:8"], 2, "--params and --like", "give one of them"],
  [["--seeds", "0"], 2, `--seeds: "0" must be at least 1`, ""],
  [["--early-stop", "2"], 2, "--early-stop needs validation data", ""],
  [["--data", "none.jsonl"], 1, "no such file", ""],
  [["--device", "none"], 1, "--device none: no such GPU", ""],
];

test("what cannot be is refused before anything is written", async () => {
  const found = await Promise.all(REFUSED.map(([args]) => compare(...DATA, ...args, "--out", "refused")));
  const told = found.map(({ status, stderr }, at) => {
    const [, , message = "", hint = ""] = REFUSED[at] ?? [];
    return [status, pattern(message, hint).test(stderr) ? message : stderr];
  });
  expect(told).toEqual(REFUSED.map(([, status, message]) => [status, message]));
  expect(existsSync(folder.at("refused"))).toBe(false);
});

function pattern(...parts: readonly string[]): RegExp {
  return new RegExp(parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)).join("[^]*"));
}
