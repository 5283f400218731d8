import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { RandloraError } from "../../files/errors.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { localPath } from "./local-path.ts";

let folder: TemporaryFolder;
const home = process.cwd();
const before = ["HF_HUB_OFFLINE", "HF_HOME"].map((name) => [name, process.env[name]] as const);
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  process.chdir(folder.path);
  for (const name of ["runs/tiny-randlora-1", "runs/tiny-lora-2", "org/model-v1"]) {
    mkdirSync(folder.at(name), { recursive: true });
  }
  process.env["HF_HUB_OFFLINE"] = "1";
  process.env["HF_HOME"] = folder.at("hub");
});
afterAll(async () => {
  process.chdir(home);
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  await folder[Symbol.asyncDispose]();
});

const DISPLAY = {
  log: { warn() {}, info() {}, verbose() {} },
  signal: new AbortController().signal,
  progress() {
    throw new Error("nothing is fetched");
  },
};

async function refused(text: string, kind: "model" | "config" | "adapter" = "model"): Promise<string> {
  try {
    return `found ${await localPath(text, kind, DISPLAY)}`;
  } catch (error) {
    if (!(error instanceof RandloraError)) throw error;
    return `${error.message} | ${error.hint}`;
  }
}

test.each([
  ["https://huggingface.co/Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"],
  ["http://www.huggingface.co/Qwen/Qwen3-0.6B/", "Qwen/Qwen3-0.6B"],
  ["huggingface.co/Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"],
  ["hf.co/Qwen/Qwen3-0.6B?library=peft#files", "Qwen/Qwen3-0.6B"],
  ["hf://Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"],
  ["https://huggingface.co/Qwen/Qwen3-0.6B/tree/main", "Qwen/Qwen3-0.6B"],
  ["https://huggingface.co/Qwen/Qwen3-0.6B/tree/v2", "Qwen/Qwen3-0.6B@v2"],
  ["https://hf.co/Qwen/Qwen3-0.6B/blob/abc/config.json", "Qwen/Qwen3-0.6B@abc"],
])("an address is answered with the name there: %s", async (address, name) => {
  for (const kind of ["model", "config", "adapter"] as const) {
    expect(await refused(address, kind)).toBe(`${address}: an address, not a name on the Hub | write ${name}`);
  }
});

test.each(["https://example.org/a/b", "https://huggingface.co/datasets/a/b"])(
  "other addresses are not fetched: %s",
  async (address) => {
    expect(await refused(address)).toContain("addresses are not fetched");
  },
);

test("the model inside the program is no adapter, as long as no folder has its name", async () => {
  expect(await refused("embedded", "adapter")).toMatch(/^embedded: a model, not an adapter \| the model comes first/);
  mkdirSync(folder.at("embedded"));
  expect(await refused("embedded", "adapter")).toBe("found embedded");
  rmSync(folder.at("embedded"), { recursive: true });
});

test("what is named below runs/ is a path, not a name on the Hub", async () => {
  expect(await refused("runs/tiny-randlora-2")).toBe(
    "runs/tiny-randlora-2: no such file or folder | did you mean runs/tiny-randlora-1?",
  );
  expect(await refused("runs/other", "adapter")).toBe(
    "runs/other: no such file or folder | runs/ has tiny-lora-2, tiny-randlora-1",
  );
  expect(await refused(folder.at("runs", "other"))).toContain("runs/ has tiny-lora-2, tiny-randlora-1");
  expect(await refused("elsewhere/runs/other")).toContain("there are no runs");
  writeFileSync("runs/tiny-lora-2/run.json", "{}");
  expect(await refused("runs/tiny-lora-2/best")).toEndWith(
    "| runs/tiny-lora-2 is a run that has no best: name the run itself",
  );
});

test("the model inside the program may be meant where a model is named in the working directory", async () => {
  expect(await refused("embeded")).toBe("embeded: no such file or folder | did you mean embedded?");
  expect(await refused(folder.at("Embeded"))).toEndWith("| did you mean embedded?");
  expect(await refused("embeded", "adapter")).toStartWith("cannot read embeded: no such file or folder | give a run,");
  expect(await refused("org/../runs/embeded")).not.toContain("did you mean");
});

test("a path that is near to one is answered with that; a name on the Hub that is not found as well", async () => {
  expect(await refused("./org/model-v2")).toBe("./org/model-v2: no such file or folder | did you mean org/model-v1?");
  expect(await refused("org/model-v2")).toMatch(
    /^org\/model-v2 is not in the cache .* \| did you mean org\/model-v1\? /,
  );
  expect(await refused("org/something-else")).not.toContain("did you mean");
  expect(await refused("./nothing")).toBe("found ./nothing");
  expect(await refused("org/model-v1")).toBe("found org/model-v1");
});
