import { describe, expect, test } from "bun:test";
import type { Contender } from "./types.ts";
import { resolveImages } from "../../train/settings/images.ts";
import { comparePage } from "./show.ts";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import { compareJson, compareText } from "./result.ts";
import { COMPARED, contender, RECORD, result } from "./testing/comparison.ts";

const PLAIN = createStyle(new RecordingStream(), {});

describe("the table", () => {
  test("has means with deviations, sizes, distances; the winner below", () => {
    expect(compareText(COMPARED, "", Infinity, PLAIN).split("\n")).toEqual([
      "method           size       rate  parameters     off             loss       validation    time   memory",
      "lora             rank 4   0.0001      1.01 K  +1.0 %  2.0500 ± 0.0707  2.0500 ± 0.0707  1.50 s  2.00 MB",
      "randlora+sparse  rank 32  0.0001      1.01 K  +1.0 %  1.0500 ± 0.0707  1.0500 ± 0.0707  1.50 s  2.00 MB",
      "full                      0.0001      1.00 M          0.5000 ± 0.0000  0.5000 ± 0.0000  1.50 s  2.00 MB",
      "",
      "winner: randlora+sparse, by the validation loss, among randlora+sparse (1.01 K parameters), lora (as many): " +
        "1.00 lower than lora; lower than each other one with p < 0.04",
      "the reference, not in the contest: full (1.00 M parameters)",
      `page: ${COMPARED.out}/README.md`,
      "",
    ]);
  });

  test("says how many parameters more or fewer than the winner's each method of the contest has", () => {
    const { comparison } = RECORD;
    const [lora, randlora] = comparison.contenders;
    if (lora === undefined || randlora === undefined) throw new Error("no contenders");
    const contenders = [lora, randlora, contender("vera", "vera", 1e3), contender("nola", "nola", 1e3)];
    const sizes: Readonly<Record<string, number>> = { lora: 1200, "randlora+sparse": 1000, vera: 990, nola: 700 };
    const results = [0, 1].flatMap((seed) =>
      contenders.map(({ label }, at) => {
        return {
          ...result(label, 1000, seed, (label === "lora" ? 1 : 2 + at) + seed / 10),
          parameters: sizes[label] ?? 0,
        };
      }),
    );
    const text = compareText({ ...COMPARED, comparison: { ...comparison, contenders }, results }, "", Infinity, PLAIN);
    expect(text.split("\n").slice(-4)).toEqual([
      "winner: lora, by the validation loss, among lora (1.20 K parameters), randlora+sparse (17 % fewer), vera (18 % fewer): " +
        "2.00 lower than randlora+sparse; lower than each other one with p < 0.027",
      "not in the contest, far from 1.00 K, diverged or failed: nola",
      `page: ${COMPARED.out}/README.md`,
      "",
    ]);
  });

  test("gives up columns where the terminal is narrow, the losses last", () => {
    for (const columns of [60, 80, 95]) {
      const [head = "", ...lines] = compareText(COMPARED, "", columns, PLAIN).split("\n");
      for (const line of [head, ...lines.slice(0, 3)]) expect(line.length).toBeLessThanOrEqual(columns);
      expect(head.split(/ +/)).toEqual(expect.arrayContaining(["method", "parameters", "off", "loss", "validation"]));
      expect([head.includes("rate"), head.includes("size")]).toEqual([false, columns === 95]);
    }
  });

  test("says which method hardly learned", () => {
    const results = RECORD.results.map((one) => ({ ...one, valid_loss_before: one.method === "lora" ? 2.06 : 3 }));
    expect(compareText({ ...COMPARED, results }, "", Infinity, PLAIN)).toContain(
      "\nlora hardly learned: its validation loss was 2.0600 before; give more --steps or another --learning-rate\n",
    );
  });

  test("says what is left, and what diverged", () => {
    const results = [result("lora", 1000, 0, null), ...RECORD.results.slice(1, 3)];
    const text = compareText({ ...COMPARED, ending: "interrupted", results }, "", Infinity, PLAIN);
    expect(text).toMatch(/\nlora +rank 4 +0\.0001 +– +– +– +–/);
    expect(text.split("\n").slice(-6)).toEqual([
      "no winner: not all runs are done",
      "not in the contest, far from 1.00 K, diverged or failed: lora",
      "the reference, not in the contest: full (1.00 M parameters)",
      `3 of 6 runs are left: randlora compare --resume ${COMPARED.out}`,
      `page: ${COMPARED.out}/README.md`,
      "",
    ]);
  });

  test("as JSON has the fixed keys, and a winner at a single budget", () => {
    const json = JSON.parse(JSON.stringify(compareJson(COMPARED)));
    expect(Object.keys(json.results[0])).toEqual(
      expect.arrayContaining([
        "method",
        "seed",
        "parameters",
        "loss",
        "valid_loss",
        "accuracy",
        "seconds",
        "peak_bytes",
      ]),
    );
    expect(json).toMatchObject({
      out: "/tmp/c",
      ending: "finished",
      budgets: [1e3],
      seeds: 2,
      winner: "randlora+sparse",
      methods: [
        {
          method: "lora",
          rank: 4,
          learning_rate: 1e-4,
        },
        { rank: 32 },
        {
          method: "full",
          budget: null,
        },
      ],
    });
    expect(json.results).toHaveLength(6);
    expect(json.methods[2].rank).toBeUndefined();
  });
});

test("README.md has the same table; names from outside stay in their cells", () => {
  const [first, ...others] = RECORD.comparison.contenders;
  const settings = { ...first?.settings, model: "a|b\n`c`\u001b[2J" } as Contender["settings"];
  const contenders = [{ ...contender("lora", "lora", 1000), settings }, ...others];
  const page = comparePage({ ...COMPARED, comparison: { ...RECORD.comparison, contenders } });
  const lines = page.split("\n");
  expect(lines[0]).toMatch(/^# a b.*c.*: methods at equal parameters$/);
  expect(page).not.toContain("\u001b");
  expect(lines).toContain("| method | size | rate | parameters | off | loss | validation | time | memory |");
  expect(lines).toContain("| full |  | 0.0001 | 1.00 M |  | 0.5000 ± 0.0000 | 0.5000 ± 0.0000 | 1.50 s | 2.00 MB |");
  expect(lines).toContain("randlora compare --resume . --seeds 4     # more runs of each method");
  const images = resolveImages({ dataset: "MNIST" }, { texts: false, learningRate: 1, gradAccum: 1 });
  const ofImages = contenders.map((one) => ({ ...one, settings: { ...one.settings, data: "sets", images } }));
  const shown = comparePage({ ...COMPARED, comparison: { ...RECORD.comparison, contenders: ofImages } }, "valid");
  expect(shown.split("\n")).toContain(
    "randlora eval images runs/lora-seed-0 --data sets --dataset MNIST --split valid     # measure one",
  );
});
