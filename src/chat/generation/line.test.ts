import { expect, test } from "bun:test";
import { CpuDevice } from "../../compute/cpu/cpu.ts";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { SlotPool } from "../../models/decoder/cache/slot-pool.ts";
import { GREEDY } from "../testing/decoder.ts";
import { Line, TURN } from "./line.ts";
import { BeamSequence } from "./beam-search.ts";
import { SampledSequence } from "./sampled-sequence.ts";

const OPTIONS = { prompt: [5, 6], maxTokens: 100, stopTokens: new Set<number>(), context: 512 };
const one = () => new SampledSequence({ ...OPTIONS, sampling: GREEDY });
const search = (beams: number) => new BeamSequence({ ...OPTIONS, beams });

test("rows that are left are those that nobody has, and no more than there was room for until one ends", async () => {
  using device = await CpuDevice.open({ threads: 1 });
  using pool = new SlotPool(device, await loadConfig(STORIES), { positions: 2048, sequences: 4, dtype: "F32" });
  const line = new Line({ rows: 4 });
  const begin = (sequence: SampledSequence | BeamSequence) => {
    const active = line.add(sequence);
    active.slots = Array.from({ length: sequence.beams }, () => pool.acquire());
    line.begin(active);
    return active;
  };
  const [first, second] = [begin(one()), begin(search(2))];
  expect(line.rowsLeft).toBe(1);
  line.shrink();
  expect([line.rowsLeft, line.isOpen]).toEqual([0, false]);
  // One that leaves while it waits had nothing.
  line.remove(line.add(one()));
  expect(line.rowsLeft).toBe(0);
  line.remove(first);
  expect(line.rowsLeft).toBe(2);
  line.shrink();
  // Its turn ends for one that takes more rows than there was room for: nobody else will end before.
  const waiting = line.add(search(4));
  for (let step = 0; step < TURN; step++) second.count();
  expect([line.pauseFor(waiting), line.running, line.rowsLeft]).toEqual([true, [], 4]);
  expect(() => line.add(search(5))).toThrow("5 beams in a batch of 4 rows");
});
