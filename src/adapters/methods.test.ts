import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { name as program } from "../../package.json";
import type { TrainedMethod } from "./method/method.ts";
import { isAdapterMethod, methodOf, METHODS } from "./methods.ts";

const ROOT = join(import.meta.dir, "../..");

/**
 * Where the word is the program's own name, the field of a request, a format of files, another program's flag, or what is
 * trained to check a device.
 */
const OTHER_MEANINGS: Readonly<Record<string, string>> = {
  "cmd/main.ts": program,
  "src/adapters/methods.ts": "full",
  "src/adapters/convert/convert-command.ts": "lora",
  "src/adapters/convert/convert-options.ts": "lora",
  "src/adapters/convert/write-lora.ts": "lora",
  "src/measure/doctor/verify/training-checks.ts": "lora, randlora, dora, nola",
  "src/measure/analyze/cka/cka-command.ts": "full",
  "src/measure/analyze/cka/cka.ts": "full",
  "src/files/cache-folder.ts": program,
  "src/compute/gpu/request.ts": program,
  "src/files/hub/http.ts": program,
  "src/measure/doctor/report.ts": program,
  "src/terminal/options/config-file.ts": program,
  "src/chat/serve/models.ts": program,
  "src/terminal/editor/history.ts": program,
  "src/adapters/convert/gguf-adapter.ts": "lora",
  "src/chat/serve/schemas.ts": "lora",
  "src/terminal/options/other-flags.ts": "lora",
};

function otherMeanings(path: string): readonly string[] {
  return OTHER_MEANINGS[path]?.split(", ") ?? [];
}

test("a method is named in its folder or file and in the list, and nowhere else", () => {
  const found: string[] = [];
  for (const path of ["src", "cmd"].flatMap((folder) => [...new Bun.Glob(`${folder}/**/*.ts`).scanSync(ROOT)])) {
    if (/\.test\.ts$|\/testing\//.test(path) || path === "src/adapters/method-names.ts") continue;
    const text = readFileSync(join(ROOT, path), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
    const words = new Set([...text.matchAll(/"([^"\n]+)"|'([^'\n]+)'/g)].map(([, double, single]) => double ?? single));
    for (const [index, method] of METHODS.entries()) {
      const types = ownTypes(method, index);
      const named = [method.name, ...types].filter((word) => words.has(word) && !otherMeanings(path).includes(word));
      const isOwn =
        path.startsWith(`src/adapters/${method.name}/`) || path === `src/adapters/formulas/${method.name}.ts`;
      if (!isOwn) found.push(...named.map((word) => `${path}: ${word}`));
    }
  }
  expect(found).toEqual([]);
  // What has another meaning is still there.
  for (const path of Object.keys(OTHER_MEANINGS)) {
    for (const word of otherMeanings(path)) expect(readFileSync(join(ROOT, path), "utf8")).toContain(`"${word}"`);
  }
});

/** The types of a method that none before it has: methods that share one tell their configurations apart. */
function ownTypes(method: TrainedMethod, index: number): readonly string[] {
  const before = METHODS.slice(0, index).filter(isAdapterMethod);
  if (!isAdapterMethod(method)) return [];
  const shared = method.peftTypes.filter((type) => before.some(({ peftTypes }) => peftTypes.includes(type)));
  if (shared.length > 0) expect(method.isOwn).toBeDefined();
  return method.peftTypes.filter((type) => !shared.includes(type));
}

test("names and types are unique", () => {
  const words = METHODS.flatMap((method, index) => [method.name, ...ownTypes(method, index)]);
  expect(new Set(words).size).toBe(words.length);
  expect(words.length).toBeGreaterThan(METHODS.length);
});

test.each([
  ["LILY", "depends on the batch"],
  ["PSOFT", "signs are not saved"],
  ["WAVEFT", "not saved"],
  ["FOURIERFT", "not saved"],
  ["UNILORA", "not saved"],
])("%s is refused with the reason: %s", (peft_type, reason) => {
  expect(() => methodOf({ peft_type }, "a.json")).toThrow(
    new RegExp(String.raw`^a\.json: peft_type "${peft_type}" cannot be applied: .*${reason}`),
  );
});
