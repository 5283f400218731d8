// What a setting of a run is where the command line, the environment, files and the run itself say different things.
import { expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { FinetuneFolder, LORA } from "./testing/finetune.ts";

const place = await FinetuneFolder.forTests();
const DRY = [STORIES, "--data", "data.jsonl", "--dry-run", "--json"] as const;

/** `randlora finetune` of a user whose own configuration this is. */
async function withOwn(yaml: string, ...args: readonly string[]) {
  await Bun.write(place.at("xdg", "randlora", "randlora.yaml"), yaml);
  return await place.run({ XDG_CONFIG_HOME: place.at("xdg") }, ...args);
}

test.each([
  ["epochs: 3\n", ["--steps", "10"], "epochs", "--steps was given"],
  ["finetune: {valid-split: 0.5}\n", ["--valid", "data.jsonl"], "valid-split", "--valid was given"],
  ["sparse: true\n", ["--very-sparse"], "sparse", "--very-sparse was given"],
  ["rank: 4\n", ["--method", "full"], "rank", "--method was given"],
  ["method: lora\n", ["--sparse"], "method", "--sparse was given"],
  ["head: cls\n", [], "head", "--head has no meaning with a language model"],
])("%p gives way to %p", async (yaml, args, key, reason) => {
  const { status, stderr } = await withOwn(yaml, ...DRY, ...args);
  expect(stderr).toContain(`randlora.yaml: ${key} is ignored: ${reason}\n`);
  // Data that validate themselves are refused for what was typed.
  if (key !== "valid-split") expect(status).toBe(0);
});

test("a run that is resumed has its own settings, whatever files say by now; what is typed must agree", async () => {
  const run = ["--resume", "run", "--steps", "2", "--json"];
  const args = [STORIES, "--data", "data.jsonl", ...LORA, "--packing", "--schedule", "constant", "--out", "run"];
  const first = await withOwn("", ...args, "--steps", "1", "--json", "--quiet");
  expect([first.status, first.stderr]).toEqual([0, ""]);
  for (const [flag, had] of [
    ["--no-packing", "--packing"],
    ["--train-on-prompt", "none"],
  ]) {
    const { status, stderr } = await withOwn("", ...run, flag ?? "");
    const cause = `${flag}: the run cannot be resumed with another value; it had ${had}`;
    const other = "start a new run (--init-adapter run continues from this one's weights)";
    expect([status, stderr]).toEqual([2, `error: ${cause}\nhint: leave ${flag} out, or ${other}\n`]);
  }
  const yaml = "finetune: {packing: false, seed: 5, out: elsewhere, epochs: 2, rank: 3}\n";
  const more = await withOwn(yaml, ...run, "--no-train-on-prompt", "--no-sparse", "--no-dora", "--packing");
  expect(more.status).toBe(0);
  for (const key of ["seed", "out", "epochs", "rank"])
    expect(more.stderr).toContain(`randlora.yaml: ${key} is ignored: `);
  expect(JSON.parse(more.stdout)).toMatchObject({ run: place.at("run"), steps: 2 });
});

test.each(["--resume", "--init-adapter", "--data", "--out", "--valid", "--targets"])(
  "an empty %s is refused",
  async (flag) => {
    const { status, stdout, stderr } = await place.run({}, ...DRY, flag, "");
    expect([status, stdout, stderr]).toEqual([
      2,
      "",
      `error: ${flag} is empty\nhint: is a variable of the shell not set?\n`,
    ]);
  },
);
