import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { writeImages } from "../cmd/testing/labeled-images.ts";
import { version } from "../package.json";
import { launcherManifest, packNpm, platformManifest, platformPackage } from "../scripts/npm-packages.ts";
import { hostTarget, isTarget, TARGETS } from "../scripts/runtimes.ts";
import { writeDinov2 } from "../src/models/vision/testing/folder.ts";
import { EXAMPLE_OUTPUTS, libraryExamples, runExample } from "../src/library/testing/examples.ts";
import { Typist } from "../src/terminal/testing/typist.ts";

setDefaultTimeout(600_000);
const ROOT = join(import.meta.dir, "..");
const targets = Object.keys(TARGETS).filter(isTarget);
const host = hostTarget();
if (host === undefined) throw new Error("no platform of ours");

/** Packed: the host's platform, and the package that people name. */
let tarballs: readonly string[];
/** Holds the tarballs, the projects that they are installed in, and an empty HOME for each of these. */
let folder: string;
/** npm's registry, as far as npm, pnpm and Bun ask it: what is known of a package, and its tarball. */
let registry: Bun.Server<undefined> | undefined;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "randlora-npm-")));
  tarballs = await packNpm(join(folder, "tarballs"), [host]);
  const manifests = new Map([launcherManifest(), ...targets.map(platformManifest)].map((one) => [one.name, one]));
  registry = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch({ url }) {
      const { origin, pathname } = new URL(url);
      const path = pathname.slice(1);
      const tarball = tarballs.find((one) => basename(one) === path);
      if (tarball !== undefined) return new Response(Bun.file(tarball));
      const manifest = manifests.get(path);
      if (manifest === undefined) return new Response("{}", { status: 404 });
      const file = `${path}-${version}.tgz`;
      // Of other platforms nothing is fetched, so they need no tarball.
      const bytes = tarballs.some((one) => basename(one) === file)
        ? await readFile(join(folder, "tarballs", file))
        : "";
      const integrity = `sha512-${createHash("sha512").update(bytes).digest("base64")}`;
      const dist = { tarball: `${origin}/${file}`, integrity };
      return Response.json({
        name: path,
        "dist-tags": { latest: version },
        versions: { [version]: { ...manifest, dist } },
      });
    },
  });
});

afterAll(async () => {
  await registry?.stop(true);
  await rm(folder, { recursive: true, force: true });
});

/** A project with an empty HOME, in which nothing but this registry and these variables is known. */
class Project {
  constructor(readonly path: string) {}

  static async create(): Promise<Project> {
    const project = new Project(await mkdtemp(join(folder, "project-")));
    await mkdir(join(project.path, "home"));
    await writeFile(join(project.path, "package.json"), '{ "name": "project", "private": true }\n');
    return project;
  }

  env(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    const { PATH = "" } = process.env;
    return {
      PATH,
      HOME: join(this.path, "home"),
      npm_config_registry: registry?.url.href ?? "",
      npm_config_ignore_scripts: "true",
      npm_config_update_notifier: "false",
      RANDLORA_DEVICE: "cpu",
      ...extra,
    };
  }

  /** Runs a command here. */
  async run(command: readonly string[], extra: Readonly<Record<string, string>> = {}, input = "") {
    const { path: cwd } = this;
    const stdin = new Blob([input]);
    const child = Bun.spawn([...command], { cwd, env: this.env(extra), stdin, stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    return { status, signal: child.signalCode, stdout, stderr };
  }

  async mustRun(...command: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(command);
    expect([status, status === 0 ? "" : stdout + stderr]).toEqual([0, ""]);
    return stdout;
  }
}

describe("from the registry, without install scripts", () => {
  test("npx randlora: doctor, finetune, merge and chat", async () => {
    const project = await Project.create();
    const randlora = ["npx", "--yes", "randlora"];
    expect(await project.mustRun(...randlora, "doctor")).toContain("cpu");
    await project.mustRun(...randlora, "finetune", "--sparse", "--steps", "2", "--out", "run");
    await project.mustRun(...randlora, "merge", "embedded", "run", "--out", "merged", "--verify");
    expect(await project.mustRun(...randlora, "chat", "merged", "-p", "Hello!", "--max-tokens", "3")).not.toBe("");
    expect(await project.run([...randlora, "chat", "nowhere", "-p", "x"])).toMatchObject({ status: 1, stdout: "" });
    // npx keeps what it fetched below HOME.
    expect((await readdir(project.path)).toSorted()).toEqual(["home", "merged", "package.json", "run"]);
  });

  test.each([
    ["pnpm", [join(ROOT, "node_modules/.bin/pnpm"), "add", "randlora"]],
    ["Bun", [process.execPath, "add", "--no-summary", "randlora"]],
    ["npm", ["npm", "install", "randlora"]],
  ])("installed by %s", async (_, install) => {
    const project = await Project.create();
    await project.mustRun(...install);
    const launcher = join(project.path, "node_modules/.bin/randlora");
    expect(await project.mustRun(launcher, "--version")).toStartWith(version);
    const input = '{"text": "Once upon a time"}\n'.repeat(2);
    expect(await project.run([launcher, "tokenize", "embedded", "--json"], {}, input)).toMatchObject({ status: 0 });
    expect(await project.run([launcher, "--nonsense"])).toMatchObject({ status: 2, stdout: "" });
  });

  test("without optional packages, it says what is missing", async () => {
    const project = await Project.create();
    await project.mustRun("npm", "install", "--omit=optional", "randlora");
    expect(await project.run(["npx", "randlora", "doctor"])).toMatchObject({
      status: 1,
      stdout: "",
      stderr:
        `error: the package ${platformPackage(host)}, which has the binary, is not installed\n` +
        `hint: install randlora@${version} again without --omit=optional, --no-optional or a lock file of another platform\n`,
    });
  });

  // setsid (util-linux) makes the terminal the one that Ctrl-C signals: npx, npm, the launcher and the binary at once.
  test.if(process.platform === "linux")("Ctrl-C under npx asks once: the run is saved", async () => {
    const project = await Project.create();
    await project.mustRun("npm", "install", "randlora");
    const finetune = ["npx", "randlora", "finetune", "--sparse", "--steps", "3000", "--out", "run"];
    const typist = new Typist(["setsid", "--ctty", "--wait", ...finetune], {
      columns: 100,
      rows: 20,
      cwd: project.path,
      env: project.env(),
    });
    await typist.until("step 1 ");
    typist.type("\x03");
    expect(await typist.exited).toBe(130);
    expect(await readdir(join(project.path, "run", "state"))).not.toEqual([]);
    await typist.end();
  });
});

describe("the library", () => {
  let project: Project;
  beforeAll(async () => {
    project = await Project.create();
    // In an empty folder, from the files alone: the registry knows nothing of the other platforms' packages.
    await rm(join(project.path, "package.json"));
    const nowhere = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("{}", { status: 404 }) });
    const { status, stderr } = await project.run([process.execPath, "add", ...tarballs], {
      npm_config_registry: nowhere.url.href,
    });
    await nowhere.stop(true);
    expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
  });

  test("the examples of docs/library.md run, print what they say and nothing else", async () => {
    const examples = await libraryExamples();
    expect(examples.length).toBe(EXAMPLE_OUTPUTS.length);
    for (const [index, code] of examples.entries()) {
      const { stdout, stderr, status } = await runExample(project.path, code, project.env());
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
      expect(stdout).toMatch(EXAMPLE_OUTPUTS[index] ?? /$^/);
    }
  });

  test("images are read in its threads", async () => {
    await writeDinov2(join(project.path, "dinov2"));
    await writeImages(join(project.path, "images"), "train", 2);
    const code = `import { embed, finetune } from "randlora";
      const run = await finetune({ model: "dinov2", data: "images", targets: ["q_proj"], steps: 1, out: "seen" });
      const { embeddings } = await embed({ model: run.run, images: ["images/train/cat/0.ppm"] });
      console.log(run.ending, run.steps, embeddings.length);`;
    const { stdout, stderr, status } = await runExample(project.path, code, project.env());
    expect([status, stderr, stdout]).toEqual([0, "", "finished 1 1\n"]);
  });

  test.each(["bundler", "nodenext"])("its types serve TypeScript (%s), and find what is wrong", async (resolution) => {
    const options = {
      strict: true,
      noEmit: true,
      target: "esnext",
      module: resolution === "bundler" ? "preserve" : resolution,
      moduleResolution: resolution,
      types: [join(ROOT, "node_modules/bun-types")],
    };
    await writeFile(
      join(project.path, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, include: ["types-*.mts"] }),
    );
    const examples = await libraryExamples();
    const wrong = `import { chat, evaluate, finetune, merge, serve } from "randlora";
      // @ts-expect-error a number
      await finetune({ steps: "many" });
      // @ts-expect-error one of a few words
      const { out } = await merge({ base: "embedded", combine: "ties!" });
      // @ts-expect-error a text
      const length: number = out;
      const { accuracy } = await evaluate.images({ model: "dinov2", data: "images" });
      // @ts-expect-error a number
      const share: string = accuracy;
      // @ts-expect-error job arrays are the command line's
      await evaluate.perplexity({ model: "embedded", file: share, parts: "parts" });
      // @ts-expect-error a number
      const { address } = await serve({ model: "embedded", port: "8080" });
      // @ts-expect-error no such option
      chat({ model: "embedded", prompt: "Hi", maxToken: length });`;
    for (const [index, code] of [...examples, wrong].entries()) {
      await writeFile(join(project.path, `types-${index}.mts`), `${code}\nexport {};\n`);
    }
    await project.mustRun(process.execPath, join(ROOT, "node_modules/typescript/bin/tsc"), "-p", ".");
  });

  test("under Node one line says what it needs, and the command works", async () => {
    const script = 'import { merge } from "randlora"; console.log(merge);';
    const { status, stderr } = await project.run(["node", "--input-type=module", "--eval", script]);
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining(
        "\nError: the library randlora needs Bun (bun run FILE); the command, npx randlora, works without it\n",
      ),
    ]);
    expect(await project.mustRun(join(project.path, "node_modules/.bin/randlora"), "--version")).toStartWith(version);
  });
});
