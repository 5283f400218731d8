import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { judge } from "./judge.ts";
import { smollm2 } from "./models.ts";
import { merge, mergeArguments, randlora, ROOT } from "./program.ts";
import { tokensOf } from "./tokens.ts";

const Measured = v.object({ nll: v.number(), perplexity: v.number() });
const Report = v.object({ tokens: v.number(), base: Measured, adapted: Measured, merged: Measured });

const python = await judge();
const CONTEXT = 100;
/** Making an adapter of the 135M model and merging it twice takes minutes on a busy machine. */
const TIMEOUT = 600_000;

let folder: string;
let text: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-perplexity-"));
  text = join(folder, "text");
  await Bun.write(text, (await Bun.file(join(ROOT, "LICENSE")).text()).slice(0, 1200));
});
afterAll(() => rm(folder, { recursive: true }));

test.each([
  ["storyteller", async () => STORIES, "f32", true],
  ["smollm2-135m", smollm2, "bf16", false],
] as const)(
  "perplexities of %s, base, adapted and merged, are PyTorch's",
  async (name, find, dtype, begins) => {
    const of = await python.realCase(`${name}-perplexity`, await find(), dtype);
    const merged = join(of.folder, "ours");
    await merge(mergeArguments(of, merged));
    const [adapter = ""] = of.adapters;
    const args = [of.base, "--adapter", adapter, "--merged", "--file", text, "--context", String(CONTEXT)];
    const ours = v.parse(Report, JSON.parse(await randlora(["eval", "perplexity", ...args, "--json"])));
    const { ids, beginning } = await tokensOf(of.base, text);
    expect(ids.length).toBeGreaterThan(2 * CONTEXT);
    expect(beginning === null).toBe(!begins);
    const wanted = await python.perplexities({ base: of.base, adapter, merged, ids, context: CONTEXT, beginning });
    for (const kind of ["base", "adapted", "merged"] as const) {
      expect(Math.abs(Math.exp(wanted[kind]) / ours[kind].perplexity - 1), kind).toBeLessThan(1e-4);
    }
    expect(Math.abs(ours.adapted.nll - ours.base.nll)).toBeGreaterThan(1e-3);
    if (dtype === "f32") expect(ours.merged).toEqual(ours.adapted);
    else expect(ours.merged.nll).not.toBe(ours.adapted.nll);
    await rm(of.folder, { recursive: true });
  },
  TIMEOUT,
);
