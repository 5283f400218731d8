import { expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { runToEnd } from "./process.ts";
import { randomFrom, TEST_SEED } from "./seed.ts";

test("fast-check draws by the same seed in every file", () => {
  expect(fc.readConfigureGlobal().seed).toBe(TEST_SEED);
});

const first = async (wish: string | undefined) => {
  const code = `const { randomFrom } = await import(${JSON.stringify(join(import.meta.dir, "seed.ts"))}); console.log(randomFrom()());`;
  const env = wish === undefined ? {} : { RANDLORA_TEST_SEED: wish };
  return await runToEnd([process.execPath, "-e", code], { env });
};

test("the seed is fixed, a given one or a new one that is said, and nothing else", async () => {
  expect(await first(undefined)).toEqual({ status: 0, stdout: `${randomFrom(1)()}\n`, stderr: "" });
  const drawn = await first("random");
  const seed = /^RANDLORA_TEST_SEED=(\d+) /.exec(drawn.stderr)?.[1] ?? "none";
  expect(drawn.stdout).toBe(`${randomFrom(Number(seed))()}\n`);
  expect((await first(seed)).stdout).toBe(drawn.stdout);
  expect((await first("-1")).stderr).toContain('it takes "random" or a whole number below 2147483648');
});
