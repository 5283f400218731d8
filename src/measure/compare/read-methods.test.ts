import { describe, expect, test } from "bun:test";
import { USUALLY_COMPARED } from "../../adapters/method-names.ts";
import { METHODS } from "../../adapters/methods.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { flagName } from "../../terminal/options/names.ts";
import { readLike, readSwept, readWishes } from "./read-methods.ts";
import { COMPARE_OPTIONS, METHOD_FLAGS } from "./options.ts";
import { FINETUNE_OPTIONS } from "../../train/settings/options.ts";

const wishes = (methods: string[] | undefined, learningRate: string[] = [], alpha: string[] = []) =>
  readWishes({ methods, learningRate, alpha });

test("what all runs share is defined once, by finetune; the rest are flags of methods", () => {
  const own = new Set([
    "methods",
    "params",
    "like",
    "seeds",
    "forgetting",
    "learningRate",
    "alpha",
    "out",
    "resume",
    "job",
    "jobs",
  ]);
  const finetune = new Map<string, unknown>(Object.entries(FINETUNE_OPTIONS));
  for (const [key, option] of Object.entries(COMPARE_OPTIONS)) {
    if (!own.has(key)) expect(option as unknown, key).toBe(finetune.get(key));
  }
  expect(METHOD_FLAGS).toMatchObject({ sparse: {}, rslora: {}, variant: {}, alpha: {}, generator: {}, compute: {} });
  expect(Object.keys(METHOD_FLAGS).filter((key) => key in COMPARE_OPTIONS)).toEqual(["alpha"]);
});

test("every setting of a method's own is a flag of that name; sparsity is two", () => {
  const flags = new Set([...Object.keys(METHOD_FLAGS), "sparsity"]);
  const settings = METHODS.flatMap(({ name, training }) =>
    training.result === "adapter" ? Object.keys(training.settings).map((key) => [name, key] as const) : [],
  );
  expect(settings.length).toBeGreaterThan(15);
  expect(settings.filter(([, key]) => !flags.has(key))).toEqual([]);
});

describe("methods", () => {
  test("flags are names of boolean ones, names with a value, or values of choices", () => {
    expect(wishes(["randlora+very-sparse+paper+basis-seed=7", "lora+rslora+alpha=4.5"])).toEqual([
      {
        label: "randlora+very-sparse+paper+basis-seed=7",
        method: "randlora",
        flags: { sparsity: "very-sparse", variant: "paper", basisSeed: "7" },
        learningRate: undefined,
      },
      { label: "lora+rslora+alpha=4.5", method: "lora", flags: { rslora: true, alpha: 4.5 }, learningRate: undefined },
    ]);
  });

  test("without any: all but the one that takes most of the time", () => {
    expect(wishes(undefined).map(({ label }) => label)).toEqual([...USUALLY_COMPARED]);
  });

  test("every flag of a method can be written", () => {
    for (const [key, option] of Object.entries(METHOD_FLAGS)) {
      const value = option.choices[0] ?? "3";
      const flag = option.form === "flag" ? flagName(key) : `${flagName(key)}=${value}`;
      const [wish] = wishes([`lora+${flag}`]);
      expect(Object.keys(wish?.flags ?? {}), flag).toHaveLength(1);
    }
  });

  test.each([
    [["lorra"], `--methods: "lorra" is no method`, "did you mean lora?"],
    [[""], `--methods: "" is no method`, "one of: randlora"],
    [["lora+rslor"], `--methods lora+rslor: no flag of a method is called "rslor"`, "did you mean rslora?"],
    [["lora+"], `--methods lora+: no flag of a method is called ""`, "flags are those of finetune"],
    [["lora+toString"], `no flag of a method is called "toString"`, "flags are those of finetune"],
    [["lora+data=x"], `no flag of a method is called "data"`, ""],
    [["lora+alpha"], "--methods lora+alpha: alpha needs a value", "write alpha=a"],
    [["lora+alpha=x"], `--methods lora+alpha=x: alpha: "x" is not a number`, ""],
    [["lora+rslora=maybe"], `rslora: "maybe" is neither true nor false`, ""],
    [["randlora+sparse+very-sparse"], "--sparse and --very-sparse", "give one of them"],
    [["lora", "lora"], "--methods: lora is there twice", "--seeds"],
  ] as const)("%j is refused", async (methods, message, hint) => {
    const { code, message: said, hint: hinted } = await refusalOf(() => wishes([...methods]));
    expect([code, said, hinted]).toEqual(["usage", expect.stringContaining(message), expect.stringContaining(hint)]);
  });
});

describe("learning rates", () => {
  test("those of a listed method win over the bare method's, and these over one for all", () => {
    const rates = ["lora=2", "1e-3", "lora+alpha=8=5"];
    const methods = ["randlora", "lora", "lora+rslora", "lora+alpha=8"];
    expect(wishes(methods, rates).map(({ learningRate }) => learningRate)).toEqual([1e-3, 2, 2, 5]);
    expect(wishes(["randlora", "lora"], ["lora=0.5"]).map(({ learningRate }) => learningRate)).toEqual([
      undefined,
      0.5,
    ]);
  });

  test.each([
    ["lorra=1", `--learning-rate: "lorra" is not compared`, "did you mean lora?"],
    ["full=1", `--learning-rate: "full" is not compared`, "compared are lora+rslora"],
    ["lora=", `--learning-rate: "" is not a number`, ""],
    ["-1", `--learning-rate: "-1" must be at least 0`, ""],
  ])("%s is refused", async (rate, message, hint) => {
    const specs = [{ label: "lora+rslora", method: "lora" }];
    const refusal = await refusalOf(() => readSwept({ learningRate: [rate], alpha: [] }, specs));
    expect([refusal.message, refusal.hint]).toEqual([expect.stringContaining(message), expect.stringContaining(hint)]);
  });
});

describe("sweeps", () => {
  test("each of several values is a contender, ascending; a single one has the method's name", () => {
    const found = wishes(["randlora", "lora+rslora", "vera", "full"], ["3e-4,1e-4", "full=0.02"], ["lora=8,16", "4"]);
    expect(found.map(({ label, learningRate, flags: { alpha } }) => [label, learningRate, alpha])).toEqual([
      ["randlora@1e-4", 1e-4, 4],
      ["randlora@3e-4", 3e-4, 4],
      ["lora+rslora@1e-4@alpha=8", 1e-4, 8],
      ["lora+rslora@1e-4@alpha=16", 1e-4, 16],
      ["lora+rslora@3e-4@alpha=8", 3e-4, 8],
      ["lora+rslora@3e-4@alpha=16", 3e-4, 16],
      // VeRA has no α.
      ["vera@1e-4", 1e-4, undefined],
      ["vera@3e-4", 3e-4, undefined],
      ["full", 0.02, undefined],
    ]);
  });

  test("values of an option that is repeated are joined", () => {
    const found = wishes(["lora", "vera"], ["2", "1,2", "vera=4", "vera=3"]);
    expect(found.map(({ label }) => label)).toEqual(["lora@1", "lora@2", "vera@3", "vera@4"]);
  });

  test("values can be written behind a method; they win", () => {
    const found = wishes(["lora@0.0003", "lora@alpha=2", "lora"], ["0.5"], ["9"]);
    expect(found.map(({ label, learningRate, flags: { alpha } }) => [label, learningRate, alpha])).toEqual([
      ["lora@3e-4", 3e-4, 9],
      ["lora@alpha=2", 0.5, 2],
      ["lora", 0.5, 9],
    ]);
    expect(wishes(found.map(({ label }) => label)).map(({ label }) => label)).toEqual(found.map(({ label }) => label));
  });

  test.each([
    [["lora@fast"], [], `--methods lora@fast: "fast" is not a number`],
    [["lora@1e-4", "lora"], ["lora=1e-4,2"], "--methods: lora@1e-4 is there twice"],
    [["lora@alpha=8@1e-3", "lora@1e-3@alpha=8"], [], "--methods: lora@1e-3@alpha=8 is there twice"],
    [["lora@1e-3@1e-2"], [], "--methods lora@1e-3@1e-2: two learning rates"],
    [["lora+alpha=8@alpha=16"], [], "--methods lora+alpha=8@alpha=16: two values of alpha"],
    [["lora@1e-3", "vera"], ["lora=1e-2"], "--learning-rate and --methods lora@1e-3: both say a value"],
    [["lora@1e-3"], ["1e-2"], "--learning-rate and --methods lora@1e-3: both say a value"],
  ] as const)("%j with %j is refused", async (methods, rates, message) => {
    expect((await refusalOf(() => wishes([...methods], [...rates]))).message).toContain(message);
  });
});

describe("--like", () => {
  test("a method with flags, and its size", () => {
    expect(readLike("randlora+sparse:6")).toMatchObject({
      wish: { label: "randlora+sparse", method: "randlora", flags: { sparsity: "sparse" } },
      size: 6,
    });
  });

  test("a method alone", () => {
    expect(readLike("lora")).toMatchObject({ wish: { label: "lora" }, size: undefined });
  });

  test.each(["lora:", "lora:0", "lora:-1", "lora:1e3", "lora:4.5", "lora:4:4", "lora:9999999999"])(
    "%s is refused",
    async (text) => {
      expect((await refusalOf(() => readLike(text))).message).toBe(
        `--like ${text}: not a method, a colon and its rank`,
      );
    },
  );

  test("of no method is refused", async () => {
    expect((await refusalOf(() => readLike(":4"))).message).toBe('--like: "" is no method');
  });
});
