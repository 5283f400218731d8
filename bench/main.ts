/*
 * `bun run bench [SUITE|WORD…] [--device NAME] [--record]`: how fast the parts are. A word that is a suite's name picks that suite, any
 * other keeps the cases that have it in their names: `bun run bench delta bf16 1024`. `--record` also writes
 * bench/results/SUITE-DATE.json.
 */
import { parseArgs } from "node:util";
import { machine, record, renderMachine, renderResults, runSuite } from "./harness.ts";
import { attentionSuite } from "./suites/attention.ts";
import { copySuite } from "./suites/copy.ts";
import { deltaSuite } from "./suites/delta.ts";
import { drawSuite } from "./suites/draws.ts";
import { gemmSuite } from "./suites/gemm.ts";
import { gatedDeltaSuite } from "./suites/gated-delta.ts";
import { loadSuite } from "./suites/loads.ts";
import { memorySuite } from "./suites/memory.ts";
import { mergeSuite } from "./suites/merge.ts";
import { peakSuite } from "./suites/peak.ts";
import { quantizedSuite } from "./suites/quantized.ts";
import { thetaSuite } from "./suites/theta.ts";

const SUITES = [
  peakSuite,
  memorySuite,
  drawSuite,
  deltaSuite,
  thetaSuite,
  gemmSuite,
  quantizedSuite,
  attentionSuite,
  gatedDeltaSuite,
  mergeSuite,
  copySuite,
  loadSuite,
];

const { values, positionals } = parseArgs({
  options: { record: { type: "boolean" }, device: { type: "string" } },
  allowPositionals: true,
});
if (values.device !== undefined) process.env["RANDLORA_DEVICE"] = values.device;
const words = positionals.map((word) => word.toLowerCase());
const named = SUITES.filter(({ name }) => words.includes(name));
const filter = words.filter((word) => SUITES.every(({ name }) => name !== word));

const on = await machine();
process.stdout.write(renderMachine(on));
let shown = 0;
for (const suite of named.length > 0 ? named : SUITES) {
  const results = await runSuite(suite, filter, (line) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  if (results.length === 0) continue;
  shown += results.length;
  process.stdout.write(`\n${renderResults(suite, results)}`);
  if (values.record === true) process.stdout.write(`written: ${await record(suite, on, results)}\n`);
}
if (shown === 0) {
  process.stderr.write(`no case matches; there are the suites ${SUITES.map(({ name }) => name).join(", ")}\n`);
  process.exitCode = 2;
}
