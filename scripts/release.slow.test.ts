import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "../package.json";
import { notices, shippedPackages } from "./notices.ts";
import { release } from "./release.ts";
import { hostTarget } from "./runtimes.ts";

setDefaultTimeout(120_000);
const ROOT = join(import.meta.dir, "..");
const host = hostTarget();
if (host === undefined) throw new Error("no platform of ours");
const archive = `randlora-${version}-${host}.tar.gz`;

const sums = async (path: string) => await readFile(join(path, "SHA256SUMS"), "utf8");

function run(command: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}) {
  const { PATH = "" } = process.env;
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], { cwd, env: { PATH, ...env } });
  return { status: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

test("THIRD_PARTY_NOTICES.txt is that of the lock file (bun scripts/notices.ts), and leaves out nothing that is bundled", async () => {
  expect(await readFile(join(ROOT, "THIRD_PARTY_NOTICES.txt"), "utf8")).toBe(await notices());
  const entrypoints = [join(ROOT, "cmd/main.ts"), join(ROOT, "src/compute/cpu/worker.ts")];
  const { metafile } = await Bun.build({ entrypoints, target: "bun", metafile: true });
  const bundled = Object.keys(metafile?.inputs ?? {}).flatMap(
    (path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [],
  );
  const known = (await shippedPackages()).map(({ name }) => name);
  expect(bundled.length).toBeGreaterThan(20);
  expect([...new Set(bundled)].filter((name) => !known.includes(name))).toEqual([]);
});

// docs/guide/install.md promises these.
test("Linux needs glibc 2.17; its GPU library glibc 2.34 and GCC 12's libstdc++", async () => {
  const newest = async (path: string, name: string) => {
    const symbols = (await readFile(path, "latin1")).match(new RegExp(`\\b${name}_[0-9.]+`, "g")) ?? [];
    return symbols
      .map((symbol) => symbol.slice(name.length + 1))
      .toSorted(Intl.Collator("en", { numeric: true }).compare)
      .at(-1);
  };
  for (const cpu of ["x64", "arm64"]) {
    const dawn = join(ROOT, `node_modules/webgpu/dist/linux-${cpu}/dawn.node`);
    expect([await newest(dawn, "GLIBC"), await newest(dawn, "GLIBCXX")]).toEqual(["2.34", "3.4.30"]);
  }
  if (process.platform === "linux") expect(await newest(process.execPath, "GLIBC")).toBe("2.17");
});

describe("a release", () => {
  let folder: string;
  let files: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "randlora-release-"));
    files = join(folder, "one");
    await release(files, "owner/name", [host]);
  }, 120_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("has the same bytes twice", async () => {
    await release(join(folder, "another"), "owner/name", [host]);
    expect(await sums(join(folder, "another"))).toBe(await sums(files));
    await rm(join(folder, "another"), { recursive: true });
  });

  test("names every file with its hash", async () => {
    const named = (await sums(files))
      .trimEnd()
      .split("\n")
      .map((line) => line.slice(66));
    expect([...named, "SHA256SUMS"].toSorted()).toEqual((await readdir(files)).toSorted());
    for (const line of (await sums(files)).trimEnd().split("\n")) {
      const hash = new Bun.CryptoHasher("sha256").update(await readFile(join(files, line.slice(66)))).digest("hex");
      expect(line.slice(0, 64)).toBe(hash);
    }
  });

  test("packs the binary with its licenses, as tar reads it", async () => {
    const into = join(folder, "unpacked");
    await mkdir(into);
    expect(run(["tar", "-xzf", join(files, archive), "-C", into], ROOT)).toMatchObject({ status: 0, stderr: "" });
    const place = join(into, `randlora-${version}-${host}`);
    expect(await readFile(join(place, "THIRD_PARTY_NOTICES.txt"), "utf8")).toBe(await notices());
    expect(run([join(place, "randlora"), "--version"], into).stdout).toStartWith(version);
    const { stdout } = run([join(place, "randlora"), "licenses"], into);
    expect(stdout).toBe(await notices());
  });

  test("lists what the binary contains as CycloneDX", async () => {
    const bom = JSON.parse(await readFile(join(files, "randlora.cdx.json"), "utf8"));
    expect(bom).toMatchObject({ bomFormat: "CycloneDX", metadata: { component: { name: "randlora", version } } });
    const names = bom.components.map(({ name }: { readonly name: string }) => name);
    expect(names.toSorted()).toEqual((await shippedPackages()).map(({ name }) => name).toSorted());
  });

  describe.if(process.platform !== "win32")("install.sh", () => {
    /** Runs it with an empty HOME against these files. */
    async function install(served: string, env: Readonly<Record<string, string>> = {}) {
      const home = await mkdtemp(join(folder, "home-"));
      using server = Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        fetch: ({ url }) => new Response(Bun.file(join(served, new URL(url).pathname))),
        error: () => new Response("", { status: 404 }),
      });
      const address = { RANDLORA_RELEASE_URL: server.url.href.replace(/\/$/, "") };
      const child = Bun.spawn(["sh", join(files, "install.sh")], {
        cwd: home,
        env: { PATH: process.env["PATH"] ?? "", HOME: home, ...address, ...env },
        stdout: "pipe",
        stderr: "pipe",
      });
      const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
      return { home, bin: join(home, ".local/bin"), status, stdout, stderr };
    }

    test("puts the binary into ~/.local/bin, and nothing else", async () => {
      const { home, bin, status, stdout, stderr } = await install(files);
      expect([status, stderr]).toEqual([0, ""]);
      expect(stdout).toStartWith(`installed randlora ${version}`);
      expect(stdout).toContain(`hint: add it to the PATH: export PATH="${bin}:$PATH"`);
      expect([await readdir(home), await readdir(bin)]).toEqual([[".local"], ["randlora"]]);
      expect(run([join(bin, "randlora"), "--version"], home).stdout).toStartWith(version);
    });

    test("replaces nothing by what is not in SHA256SUMS, or does not start", async () => {
      const served = join(folder, "served");
      await mkdir(served);
      await writeFile(join(served, archive), "not the archive");
      await writeFile(join(served, "SHA256SUMS"), await sums(files));
      const env = { RANDLORA_INSTALL_DIR: join(folder, "taken") };
      await mkdir(env.RANDLORA_INSTALL_DIR);
      await writeFile(join(env.RANDLORA_INSTALL_DIR, "randlora"), "the older one");
      const attempt = async (message: string) => {
        const { status, stdout, stderr } = await install(served, env);
        expect([status, stdout, stderr]).toEqual([1, "", expect.stringContaining(message)]);
        expect(await readdir(env.RANDLORA_INSTALL_DIR)).toEqual(["randlora"]);
        expect(await readFile(join(env.RANDLORA_INSTALL_DIR, "randlora"), "utf8")).toBe("the older one");
      };
      await attempt(`error: ${archive} is not the file that SHA256SUMS names\nhint: `);

      const inside = `randlora-${version}-${host}`;
      await Bun.write(join(served, inside, "randlora"), "no program");
      run(["tar", "-czf", archive, inside], served);
      const hash = new Bun.CryptoHasher("sha256").update(await readFile(join(served, archive))).digest("hex");
      await writeFile(join(served, "SHA256SUMS"), `${hash}  ${archive}\n`);
      await attempt("holds a binary that does not start here\nhint: nothing was installed\n");

      await rm(join(served, archive));
      await attempt("cannot be fetched\nhint: ");
      await writeFile(join(served, "SHA256SUMS"), "");
      await attempt("names no binary for");
    });
  });
});
