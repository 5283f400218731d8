/*
 * `npm run test:slurm`: the scripts of docs/guide/cluster under a real Slurm of one node, which is set up in a folder of its own
 * (Debian's slurm-wlm and munge, as root; no systemd). Tasks of arrays are killed, and what they make is held to one process's.
 */
import { chmod, cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { RandloraError } from "../src/files/errors.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { outcomeOf, writeTexts } from "../src/train/testing/runs.ts";

const ROOT = join(import.meta.dir, "..");
const ARRAY = join(ROOT, "docs/guide/cluster/array.sbatch");

const say = (line: string) => process.stdout.write(`${line}\n`);

type Environment = Record<string, string | undefined>;

/** Runs a program to its end. @throws RandloraError `file` where it fails */
async function must(command: readonly string[], env: Environment, cwd = ROOT): Promise<string> {
  const child = Bun.spawn([...command], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (status === 0) return stdout.trim();
  throw new RandloraError("file", `${command.slice(0, 3).join(" ")}: status ${status}: ${stderr}`, "see the output");
}

/** A controller and a node in `folder`, until it is disposed. */
async function startSlurm(folder: string): Promise<{ env: Environment } & AsyncDisposable> {
  for (const program of ["munged", "slurmctld", "slurmd", "srun", "parallel"]) {
    if (Bun.which(program) === null) {
      throw new RandloraError(
        "usage",
        `${program}: not installed`,
        "as root: apt-get install slurm-wlm munge parallel",
      );
    }
  }
  const at = (name: string) => join(folder, name);
  for (const name of ["state", "spool", "bin"]) await mkdir(at(name));
  await writeFile(at("munge.key"), crypto.getRandomValues(new Uint8Array(1024)), { mode: 0o600 });
  const host = hostname();
  const settings = {
    ClusterName: "randlora",
    SlurmctldHost: host,
    SlurmUser: "root",
    SlurmdUser: "root",
    AuthType: "auth/munge",
    // Tasks that are started again wait until the credential of the first start is void.
    AuthInfo: `socket=${at("munge.sock")},cred_expire=5`,
    SlurmctldPort: 17_817,
    SlurmdPort: 17_818,
    StateSaveLocation: at("state"),
    SlurmdSpoolDir: at("spool"),
    SlurmctldPidFile: at("slurmctld.pid"),
    SlurmdPidFile: at("slurmd.pid"),
    SlurmctldLogFile: at("slurmctld.log"),
    SlurmdLogFile: at("slurmd.log"),
    ProctrackType: "proctrack/pgid",
    TaskPlugin: "task/none",
    SelectType: "select/cons_tres",
    SelectTypeParameters: "CR_CPU",
    ReturnToService: 2,
    SchedulerParameters: "sched_interval=1,batch_sched_delay=1",
    NodeName: `${host} CPUs=2 RealMemory=2000 State=UNKNOWN`,
    PartitionName: `all Nodes=${host} Default=YES MaxTime=INFINITE State=UP`,
  };
  await writeFile(
    at("slurm.conf"),
    Object.entries(settings)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(""),
  );
  const bun = process.execPath;
  await writeFile(at("bin/randlora"), `#!/bin/sh\nexec "${bun}" "${join(ROOT, "cmd/main.ts")}" "$@"\n`);
  await chmod(at("bin/randlora"), 0o755);
  const env = {
    ...process.env,
    PATH: `${at("bin")}:${process.env["PATH"]}`,
    SLURM_CONF: at("slurm.conf"),
    RANDLORA_DEVICE: "cpu",
  };
  const munge = [
    "key-file=munge.key",
    "socket=munge.sock",
    "pid-file=munge.pid",
    "log-file=munge.log",
    "seed-file=munge.seed",
  ];
  await must(["munged", "--force", ...munge.map((one) => `--${one.replace("=", `=${folder}/`)}`)], env);
  await must(["slurmctld", "-i"], env);
  await must(["slurmd"], env);
  return {
    env,
    async [Symbol.asyncDispose]() {
      await must(["scancel", "--quiet", "--full", "-u", "root"], env).catch(() => "");
      for (const name of ["slurmd", "slurmctld", "munge"]) {
        process.kill(Number(await readFile(at(`${name}.pid`), "utf8")));
        await Bun.sleep(500);
      }
    },
  };
}

/** Submits an array of eight tasks, kills the second and the seventh in the middle of their work, and waits for all. */
async function runArray(folder: string, env: Environment, args: readonly string[]): Promise<void> {
  const submit = ["sbatch", "--parsable", "--array=1-8", ARRAY, ...args];
  const id = await must(submit, env, folder);
  for (const task of ["2", "7"]) {
    const isRunning = async () =>
      (await must(["squeue", "-h", "-t", "R", "-j", `${id}_${task}`, "-o", "%i"], env)) !== "";
    while (!(await isRunning())) await Bun.sleep(100);
    await Bun.sleep(1000);
    await must(["scancel", "--full", "--signal=KILL", `${id}_${task}.0`], env).catch(() => "");
  }
  while ((await must(["squeue", "-h", "-j", id], env).catch(() => "")) !== "") await Bun.sleep(500);
  const logs = await Array.fromAsync(new Bun.Glob("randlora-*.log").scan(folder));
  const killed = await Promise.all(
    logs.map(async (log) => /Killed|signal|error:/i.test(await readFile(join(folder, log), "utf8"))),
  );
  say(`  ${args[0]}: ${logs.length} tasks, ${killed.filter(Boolean).length} of them killed and started again`);
}

async function sameOrThrow(what: string, found: unknown, wanted: unknown): Promise<void> {
  if (!Bun.deepEquals(found, wanted))
    throw new RandloraError("data", `${what}: not what one process writes`, "look into the folder");
  say(`  ${what}: byte-identical to one process`);
}

async function compareInJobs(env: Environment): Promise<void> {
  await using folder = await TemporaryFolder.create();
  await writeTexts(folder.at("train.jsonl"), 16);
  const args = [
    STORIES,
    "--data",
    "train.jsonl",
    "--targets",
    "q_proj,v_proj",
    "--methods",
    "randlora,lora",
    "--params",
    "4K",
  ];
  const all = [
    "compare",
    ...args,
    "--seeds",
    "4",
    "--steps",
    "30",
    "--save-every",
    "2",
    "--batch-size",
    "2",
    "--threads",
    "1",
  ];
  await must(["randlora", ...all, "--out", "whole"], env, folder.path);
  const each = all.slice(0, -2);
  await runArray(folder.path, env, [...each, "--out", "jobs"]);
  const script = join(ROOT, "docs/guide/cluster/array.sh");
  await must(["sh", script, "8", ...each, "--out", "parallel"], env, folder.path);
  const outcome = async (name: string) => {
    const runs = (await readdir(folder.at(name, "runs"))).toSorted();
    const { results } = JSON.parse(await readFile(folder.at(name, "compare.json"), "utf8"));
    const timeless = results.map((result: object) => ({ ...result, seconds: 0 }));
    return [runs, timeless, await Promise.all(runs.map((run) => outcomeOf(folder.at(name, "runs", run))))];
  };
  await sameOrThrow("compare --job", await outcome("jobs"), await outcome("whole"));
  await sameOrThrow("compare --job by GNU parallel", await outcome("parallel"), await outcome("whole"));
  // A refusal is not tried again.
  await writeFile(folder.at("train.jsonl"), "no");
  const submit = ["sbatch", "--parsable", "--wait", "--array=1-1", ARRAY, ...each, "--out", "bad"];
  const refused = Bun.spawn(submit, { cwd: folder.path, env, stdio: ["ignore", "pipe", "ignore"] });
  const status = await refused.exited;
  if (status !== 3)
    throw new RandloraError("data", `damaged data: status ${status}`, "3 says that trying again is useless");
  say("  damaged data: exit status 3, not started again");
}

if (import.meta.main) {
  await using folder = await TemporaryFolder.create();
  await cp(ARRAY, folder.at("array.sbatch"));
  await using slurm = await startSlurm(folder.path);
  say(await must(["sinfo", "--version"], slurm.env));
  await compareInJobs(slurm.env);
}
