import { expect, test } from "bun:test";
import { chmod, readdir } from "node:fs/promises";
import { join } from "node:path";
import { YAML } from "bun";
import { gatherSeconds, longEnough } from "../bench/scale-model.ts";
import { EXIT_STATUS } from "../src/files/errors.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { allCommands, allKeys, flagName } from "../src/terminal/options/names.ts";
import { program } from "./main.ts";

const GUIDE = join(import.meta.dir, "../docs/guide");
const text = (name: string) => Bun.file(join(GUIDE, "cluster", name)).text();
const names = (await readdir(join(GUIDE, "cluster"))).toSorted();

test("the guide links every file that is there to copy, and no other", async () => {
  const guide = await Bun.file(join(GUIDE, "cluster.md")).text();
  const linked = new Set([...guide.matchAll(/\]\(cluster\/([\w.-]+)\)/g)].map(([, name = ""]) => name));
  expect([...linked].toSorted()).toEqual(names);
});

test.each(names.filter((name) => /\.(sh|sbatch)$/.test(name)))("%s is a script that a shell reads", async (name) => {
  const shell = name.endsWith(".sh") ? "sh" : "bash";
  expect(Bun.spawnSync([shell, "-n", join(GUIDE, "cluster", name)]).exitCode).toBe(0);
});

test.if(Bun.which("parallel") !== null)(
  "array.sh keeps words whole, and ends with a status that says no more",
  async () => {
    await using folder = await TemporaryFolder.create();
    await Bun.write(folder.at("bin/randlora"), `#!/bin/sh\necho "$@" >> "$3"\n[ "$5" = 2/2 ]\n`);
    await chmod(folder.at("bin/randlora"), 0o755);
    const env = { ...process.env, PATH: `${folder.at("bin")}:${process.env["PATH"]}`, TMPDIR: folder.path };
    const run = ["sh", join(GUIDE, "cluster", "array.sh"), "2", "compare", "my base", "the log"];
    const child = Bun.spawn(run, { cwd: folder.path, env, stderr: "ignore" });
    expect(await child.exited).toBe(1);
    const lines = (await Bun.file(folder.at("the log")).text()).trim().split("\n");
    expect(new Set(lines)).toEqual(new Set(["compare my base the log --job 1/2", "compare my base the log --job 2/2"]));
  },
);

test.each(names.filter((name) => name !== "Dockerfile"))("%s gives randlora options that it has", async (name) => {
  const flags = new Set(allCommands(program).flatMap(({ command }) => allKeys(command.options).map(flagName)));
  const others = new Set(["mpi", "kill-on-bad-exit", "ntasks", "wdir", "joblog", "array", "nodes", "list", "sshlogin"]);
  const lines = (await text(name)).split("\n").filter((line) => !line.startsWith("#SBATCH"));
  const given = lines.flatMap((line) => [...line.matchAll(/(?<![\w-])--([a-z][a-z-]*)/g)].map(([, flag = ""]) => flag));
  expect(given.filter((flag) => !flags.has(flag) && !others.has(flag))).toEqual([]);
});

test("an Indexed Job has as many parts as pods, and does not repeat what stays wrong", async () => {
  const job = YAML.parse(await text("indexed-job.yaml"));
  expect(job).toMatchObject({ apiVersion: "batch/v1", kind: "Job", spec: { completionMode: "Indexed" } });
  const [container] = JSON.parse(JSON.stringify(job)).spec.template.spec.containers;
  expect(container.args).toContain(`--jobs=${JSON.parse(JSON.stringify(job)).spec.completions}`);
  const rules = JSON.parse(JSON.stringify(job)).spec.podFailurePolicy.rules;
  const values = rules.flatMap((rule: { onExitCodes?: { values: number[] } }) => rule.onExitCodes?.values ?? []);
  expect(new Set(values)).toEqual(new Set(Object.values(EXIT_STATUS).filter((status) => status !== 1)));
});

test.each(["mpijob.yaml", "trainjob.yaml"])("%s is YAML", async (name) => {
  const found = YAML.parse(await text(name));
  expect(JSON.stringify(found)).toContain("mpirun");
});

test("the table of the guide is that of the formula", async () => {
  const guide = await Bun.file(join(GUIDE, "cluster.md")).text();
  const rows = [
    ...guide.matchAll(/^\| (?:135M|8B) \| `(\w+)` \| ([\d,]+) \| .* \| ([\d.,]+) \| [\d.,]+ \| [\d.e,-]+ \|$/gm),
  ];
  expect(rows.length).toBe(3);
  for (const [, method, parameters = "", shown = ""] of rows) {
    const [count, step] = [parameters, shown].map((number) => Number(number.replaceAll(",", "")));
    const wanted = longEnough(gatherSeconds(count ?? NaN, 4, 1), 4, 0.9);
    expect(Math.abs((step ?? NaN) / wanted - 1), method).toBeLessThan(0.06);
  }
});
