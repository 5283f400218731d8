// What takes a mount, or hundreds of megabytes, to see.
import { expect, test } from "bun:test";
import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { measureMemory } from "../bench/memory.ts";
import { writeLora } from "../src/adapters/testing/lora.ts";
import { weights } from "../src/adapters/merge/testing/models.ts";
import { mounting } from "../src/files/testing/mount.ts";
import { runToEnd } from "../src/files/testing/process.ts";
import { baseAndAdapter, TENSORS } from "./testing/merge.ts";
import { commandLine } from "./testing/program.ts";

const EMBEDDED = join(import.meta.dir, "../fixtures/embedded/model");
const LORA = { r: 4, alpha: 8, seed: 3, modules: { "model.layers.1.self_attn.q_proj": [128, 128] } } as const;

const unshare = mounting();
test.skipIf(unshare === undefined).each([
  ["merge", ["base", "adapter"], "out"],
  ["merge", ["base/model.safetensors", "adapter"], "out"],
  ["convert", ["embedded", "--to", "gguf"], "x.gguf"],
  ["merge", ["embedded", "lora"], "x.gguf"],
] as const)("a full disk: %s %p says so, and leaves nothing of its output", async (command, args, out) => {
  await using folder = await baseAndAdapter({
    tensors: { ...TENSORS, "model.other.weight": weights("BF16", [500, 1000], 9) },
  });
  await cp(EMBEDDED, folder.at("embedded"), { recursive: true });
  await writeLora(folder.at("lora"), LORA);
  await mkdir(folder.at("disk"));
  const script = `mount -t tmpfs -o size=600k tmpfs "$0" && cd "$0" && echo mine > kept || exit 9
    "$@"; echo "status $?"; find . | sort`;
  const paths = args.map((arg) => (/^(base|adapter|embedded|lora)/.test(arg) ? folder.at(arg) : arg));
  const words = commandLine(command, ...paths, "--quiet", "--device", "cpu", "--out", `new/${out}`);
  const { stdout, stderr } = await runToEnd([...(unshare ?? []), "sh", "-c", script, folder.at("disk"), ...words]);
  expect(stderr).toMatch(
    /^error: \S*disk\/new\/\S+: it takes \d\.\d MB, and the disk has 0\.6 MB free\nhint: free .*\n$/,
  );
  expect(stderr).toContain(out);
  expect(stdout).toBe("status 1\n.\n./kept\n");
});

test("memory does not grow with the checkpoint: 300 MB with 2 MB adapted at a time", async () => {
  const modules = { "self_attn.q_proj": [1024, 1024], "self_attn.v_proj": [256, 1024] } as const;
  const one = { name: "", modules, layers: 2, untouchedBytes: 3e8, r: 16, sparse: true, verify: true };
  const { checkpointBytes, peakBytes, boundBytes } = await measureMemory(one);
  expect(checkpointBytes).toBeGreaterThan(3e8);
  expect(peakBytes).toBeLessThan(boundBytes);
});
