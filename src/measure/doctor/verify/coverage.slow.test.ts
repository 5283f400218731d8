import { afterAll, expect, spyOn, test } from "bun:test";
import { PipelineCache } from "../../../compute/gpu/pipelines.ts";
import { everyKernel } from "../../../compute/gpu/testing/every-kernel.ts";
import { ROW_KERNELS } from "../../../compute/rows/index.ts";
import { openInterpreted } from "../../../compute/gpu/testing/interpreted.ts";
import { CheckedDevice } from "./check.ts";
import { trainingChecks } from "./training-checks.ts";

const signal = new AbortController().signal;
const compiled = spyOn(PipelineCache.prototype, "get");
afterAll(() => compiled.mockRestore());

test("a GPU kernel that training takes, of whatever method, has a check of its own", async () => {
  const checked = new Set(everyKernel().map(({ key }) => key));
  compiled.mockClear();
  const { gpu } = openInterpreted();
  // It computes nothing: what is found is not looked at.
  using devices = new CheckedDevice(async () => gpu.counting());
  for (const check of trainingChecks({ choice: "cpu" })) await check.run(devices, signal);
  const taken = new Set(compiled.mock.calls.map(([{ key }]) => key));
  expect(taken.size).toBeGreaterThan(20);
  // Gradients of one input are those of all: the same nodes of the graph.
  const nodesOf = (key: string) => Object.values(ROW_KERNELS.get(key.split("/")[0] ?? "")?.targets ?? {});
  const computed = new Set([...checked].flatMap(nodesOf));
  const isPart = (key: string) => nodesOf(key).length > 0 && nodesOf(key).every((node) => computed.has(node));
  expect([...taken].filter((key) => !checked.has(key) && !isPart(key))).toEqual([]);
  gpu.close();
}, 300_000);
