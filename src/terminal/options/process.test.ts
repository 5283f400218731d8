import { describe, expect, test } from "bun:test";
import { openSync, closeSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Typist } from "../testing/typist.ts";
import { cleanEnvironment } from "../../files/testing/process.ts";
import { sample, SAMPLE } from "./testing/spawn.ts";

describe("exit status", () => {
  test("0 and the text for people, or exactly one JSON object", async () => {
    const people = await sample(["mix", "a", "b"]);
    expect(people.status).toBe(0);
    expect(people.stdout).toStartWith("for people\n");
    const machines = await sample(["mix", "a", "b", "--json"]);
    expect(machines).toMatchObject({ status: 0, stderr: "" });
    expect(machines.stdout.split("\n")).toHaveLength(2);
    expect(JSON.parse(machines.stdout)).toMatchObject({ base: "a", others: ["b"], dtype: "keep" });
  });

  test("3 with the error and its hint for what stays wrong", async () => {
    expect(await sample(["fail", "format", "--quiet"])).toEqual({
      status: 3,
      stdout: "",
      stderr: "error: x.safetensors: header cut off\nhint: fetch the file again\n",
    });
  });

  test("2 for wrong usage, the parser's and the command's own", async () => {
    expect((await sample(["fail", "usage"])).status).toBe(2);
    expect((await sample(["mix", "--nonsense"])).status).toBe(2);
    expect((await sample(["--json"])).status).toBe(2);
  });

  test("0 for no word at all, which asks for help", async () => {
    expect(await sample([])).toEqual({ ...(await sample(["--help"])), status: 0, stderr: "" });
  });

  test("1 for what nobody expected, with the stack under --verbose only", async () => {
    const terse = await sample(["fail", "--quiet"]);
    expect(terse).toEqual({
      status: 1,
      stdout: "",
      stderr: "error: internal: undefined is not a model\nhint: run again with --verbose for the stack\n",
    });
    const verbose = await sample(["fail"], { env: { RANDLORA_VERBOSE: "yes" } });
    expect(verbose.status).toBe(1);
    expect(verbose.stderr).toContain("sample.ts");
    const later = await sample(["fail", "later", "--quiet"]);
    expect([later.status, later.stderr]).toEqual([1, expect.stringContaining("error: internal: lost promise")]);
  });

  test("--verbose is the same to errors that are caught and to those that are not, wherever it is said", async () => {
    const folder = await mkdtemp(join(tmpdir(), "randlora-verbose-"));
    try {
      await writeFile(join(folder, "on.yaml"), "verbose: true\n");
      await writeFile(join(folder, "off.yaml"), "verbose: false\n");
      const on = [["-v"], ["--config", "on.yaml"]];
      for (const how of [[], ["later"]]) {
        for (const args of on) {
          expect((await sample(["fail", ...how, ...args], { cwd: folder })).stderr).toContain("sample.ts");
        }
        const env = { RANDLORA_VERBOSE: "yes" };
        expect((await sample(["fail", ...how], { env })).stderr).toContain("sample.ts");
        const overruled = await sample(["fail", ...how, "--config", "off.yaml"], { cwd: folder });
        expect(overruled.stderr).not.toContain("sample.ts");
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

test("--verbose says where options come from that were not typed, without their values, and what the run took", async () => {
  const folder = await mkdtemp(join(tmpdir(), "randlora-verbose-"));
  try {
    await writeFile(join(folder, "own.yaml"), "prompt: secret\ndtype: f32\n");
    const env = { RANDLORA_MAX_SHARD_SIZE: "7", RANDLORA_DTYPE: "bf16" };
    const args = ["mix", "base", "other", "--config", "own.yaml", "--force"];
    const { stderr, status } = await sample([...args, "-v"], { cwd: folder, env });
    const [last, ...lines] = stderr.trimEnd().split("\n").toReversed();
    expect([status, lines.toSorted()]).toEqual([
      0,
      [
        "--dtype: from RANDLORA_DTYPE",
        "--max-shard-size: from RANDLORA_MAX_SHARD_SIZE",
        "--prompt: from own.yaml: prompt",
      ],
    ]);
    expect(last).toMatch(/^took .*, at most [\d.]+ MB of memory$/);
    expect((await sample(args, { cwd: folder, env })).stderr).toBe("");
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("signals", () => {
  async function start(...args: string[]) {
    const child = Bun.spawn([process.execPath, SAMPLE, "wait", ...args], {
      env: cleanEnvironment(),
      stdout: "pipe",
      stderr: "pipe",
    });
    const reader = child.stderr.getReader();
    const decoder = new TextDecoder();
    let seen = "";
    const until = async (text: string): Promise<void> => {
      while (!seen.includes(text)) {
        const { value, done } = await reader.read();
        if (done) throw new Error(`ended before ${JSON.stringify(text)}: ${seen}`);
        seen += decoder.decode(value);
      }
    };
    await until("waiting");
    return { child, until };
  }

  test.each([["SIGINT", 130] as const, ["SIGTERM", 143] as const])(
    "%s lets the command clean up",
    async (name, status) => {
      const { child, until } = await start();
      child.kill(name);
      await until("cleaning up");
      expect([await child.exited, child.signalCode]).toEqual([status, null]);
    },
  );

  test.if(process.platform !== "win32")(
    "SIGHUP lets it clean up, too; the kernel and the shell both send one",
    async () => {
      const { child, until } = await start("--stubborn");
      child.kill("SIGHUP");
      await until("cleaning up");
      child.kill("SIGHUP");
      // Signals that are pending are one: it is asked until it has heard two.
      const asking = setInterval(() => child.kill("SIGTERM"), 20);
      expect([await child.exited, child.signalCode]).toEqual([143, null]);
      clearInterval(asking);
      const short = await start();
      short.child.kill("SIGHUP");
      expect([await short.child.exited, short.child.signalCode]).toEqual([129, null]);
    },
  );

  test.if(process.platform !== "win32")("under nohup SIGHUP is ignored", async () => {
    const child = Bun.spawn(["sh", "-c", `trap '' HUP; exec "$@"`, "sh", process.execPath, SAMPLE, "wait"], {
      env: cleanEnvironment(),
      stderr: "pipe",
    });
    const reader = child.stderr.getReader();
    await reader.read();
    child.kill("SIGHUP");
    child.kill("SIGTERM");
    expect([await child.exited, child.signalCode]).toEqual([143, null]);
  });

  test("a second one leaves at once", async () => {
    const { child, until } = await start("--stubborn");
    child.kill("SIGINT");
    await until("cleaning up");
    child.kill("SIGINT");
    expect([await child.exited, child.signalCode]).toEqual([130, null]);
  });

  test.if(process.platform !== "win32")("a second one on a terminal ends the line that is drawn", async () => {
    const size = { columns: 60, rows: 10 };
    const typist = new Typist([process.execPath, SAMPLE, "wait", "--stubborn"], { ...size, env: cleanEnvironment() });
    await typist.until("waiting");
    typist.signal("SIGINT");
    await typist.until("cleaning up\r\n");
    typist.signal("SIGINT");
    expect(await typist.exited).toBe(130);
    expect(typist.transcript).toEndWith("cleaning up\r\n\r\n");
    await typist.end();
  });
});

describe("standard output", () => {
  test("closed by its reader: the end, without a word", async () => {
    const child = Bun.spawn([process.execPath, SAMPLE, "pour"], {
      env: cleanEnvironment(),
      stdout: "pipe",
      stderr: "pipe",
    });
    const reader = child.stdout.getReader();
    await reader.read();
    await reader.cancel();
    expect([await child.exited, await child.stderr.text()]).toEqual([0, ""]);
  });

  test.if(process.platform === "linux")("on a full disk: an error", async () => {
    const full = openSync("/dev/full", "w");
    const child = Bun.spawn([process.execPath, SAMPLE, "mix", "a", "b"], {
      env: cleanEnvironment(),
      stdout: full,
      stderr: "pipe",
    });
    expect([await child.exited, await child.stderr.text()]).toEqual([
      1,
      "error: standard output: cannot be written (ENOSPC)\n",
    ]);
    closeSync(full);
  });
});
