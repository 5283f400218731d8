// What GNU as makes of a text, for tests that hold our encodings to it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const TOOLS = {
  x64: { prefix: process.arch === "x64" ? "" : "x86_64-linux-gnu-", head: ".intel_syntax noprefix\n" },
  arm64: { prefix: process.arch === "arm64" ? "" : "aarch64-linux-gnu-", head: "" },
} as const;

/** The code of each line; scripts/setup.mjs --assemblers installs what this runs. */
export function assemble(architecture: keyof typeof TOOLS, lines: readonly string[]): string[] {
  const { prefix, head } = TOOLS[architecture];
  const folder = mkdtempSync(join(tmpdir(), "randlora-as-"));
  try {
    const [source, object, binary] = ["code.s", "code.o", "code.bin"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    // A byte's mark between the instructions would be ambiguous; each is put at a multiple of 16 bytes instead.
    writeFileSync(source, head + lines.map((line) => `.balign 16, 0xcc\n${line}\n`).join("") + ".balign 16, 0xcc\n");
    run(`${prefix}as`, "-o", object, source);
    run(`${prefix}objcopy`, "-O", "binary", "-j", ".text", object, binary);
    const bytes = readFileSync(binary);
    return lines.map((_, at) => bytes.subarray(at * 16, at * 16 + 16).toString("hex"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** One instruction's code as `assemble` gives it. */
export function padded(code: Uint8Array): string {
  return Buffer.concat([code, Buffer.alloc(16 - code.length, 0xcc)]).toString("hex");
}

/** Instructions that a test does not name, or none of the files beside it uses. */
export async function instructionsLeftOut(code: object, test: string, users: readonly string[]): Promise<string[]> {
  const text = await Bun.file(test).text();
  const used = await Promise.all(users.map((user) => Bun.file(join(dirname(test), user)).text()));
  const isUsed = (name: string) => new RegExp(String.raw`ode\.${name}\b`).test(used.join("\n"));
  return Object.keys(code).filter((name) => !text.includes(name) || !isUsed(name));
}

function run(command: string, ...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync([command, ...args]);
  if (exitCode !== 0) throw new Error(`${command}: ${stderr.toString()}`);
}
