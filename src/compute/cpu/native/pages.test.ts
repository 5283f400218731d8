import { expect, test } from "bun:test";
import { runToEnd } from "../../../files/testing/process.ts";

/** A process that may not make pages executable, as hardened systems have it; PR_SET_MDWE is Linux' since 6.3. */
const PROGRAM = `
  import { readFileSync } from "node:fs";
  import { openLibc } from ${JSON.stringify(`${import.meta.dir}/../../../files/libc.ts`)};
  import { availableCodes, chooseCode } from ${JSON.stringify(`${import.meta.dir}/choose.ts`)};
  import { executable } from ${JSON.stringify(`${import.meta.dir}/pages.ts`)};
  const libc = openLibc({ prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" } });
  const [PR_SET_MDWE, REFUSE_EXEC_GAIN] = [65, 1n];
  if (libc?.prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0n, 0n, 0n) !== 0) console.log("null");
  else {
    const mapped = () => readFileSync("/proc/self/maps", "utf8").split("\\n").filter((line) => line.includes("rw-p")).reduce((sum, line) => {
      const [, from = "", to = ""] = /^(\\w+)-(\\w+)/.exec(line) ?? [];
      return sum + Number("0x" + to) - Number("0x" + from);
    }, 0);
    const codes = availableCodes();
    const { passed } = chooseCode(undefined);
    const before = mapped();
    for (let turn = 0; turn < 16; turn++) try { executable(new Uint8Array(2 ** 24)); } catch {}
    console.log(JSON.stringify({ codes, passed, leaked: mapped() - before > 2 ** 27 }));
  }`;

/** Null where nothing can be refused so, as before Linux 6.3. */
const found = process.platform === "linux" ? await computed() : null;

async function computed(): Promise<unknown> {
  const { stdout } = await runToEnd([process.execPath, "-e", PROGRAM], { env: { RANDLORA_CPU_CODE: "" } });
  return JSON.parse(stdout);
}

test.skipIf(found === null)(
  "where the system refuses executable pages, WebAssembly runs, why is said, and none is lost",
  () => {
    const why = "no executable memory: the system refuses mprotect with PROT_EXEC";
    expect(found).toEqual({ codes: ["wasm"], passed: [why], leaked: false });
  },
);
