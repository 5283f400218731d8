import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { FairQueue, MAX_OVERTAKEN, type QueuedJob } from "./fair-queue.ts";

interface Job extends QueuedJob {
  readonly name: string;
}

/** @param name network, perhaps user, number, perhaps model: `a1`, `a.x1:mine` */
function jobOf(name: string): Job {
  const [client = "", model = "base"] = name.replace(/\d/, "").split(":");
  const [network = "", user = ""] = client.split(".");
  return { network, user, model, name };
}

function queueOf(...jobs: string[]): FairQueue<Job> {
  const queue = new FairQueue<Job>();
  for (const name of jobs) queue.add(jobOf(name));
  return queue;
}

function next<T extends QueuedJob>(queue: FairQueue<T>, resident?: QueuedJob["model"]): T | undefined {
  const job = queue.first(({ model }) => model === resident);
  if (job !== undefined) queue.take(job);
  return job;
}

function takeAll(queue: FairQueue<Job>, resident = "base"): string[] {
  const foretold = queue.order(resident).map(({ name }) => name);
  const order: string[] = [];
  for (let job = next(queue, resident); job !== undefined; job = next(queue, job.model)) order.push(job.name);
  expect(foretold).toEqual(order);
  return order;
}

test("networks take turns, and each one's jobs stay in order", () => {
  expect(takeAll(queueOf("a1", "a2", "a3", "b1", "c1", "c2"))).toEqual(["a1", "b1", "c1", "a2", "c2", "a3"]);
});

test("users take turns within their network, which gets no more of them by having more users", () => {
  expect(takeAll(queueOf("a.x1", "a.x2", "a.y1", "a.z1", "b1", "b2"))).toEqual([
    "a.x1",
    "b1",
    "a.y1",
    "b2",
    "a.z1",
    "a.x2",
  ]);
});

test("the order is found anew only when who waits, or the resident model, is another", () => {
  const queue = queueOf("a1:base", "b1:mine");
  const names = (resident?: string) => queue.order(resident).map(({ name }) => name);
  const found = queue.order("base");
  expect(queue.order("base")).toBe(found);
  expect([names("mine"), names()]).toEqual([
    ["b1:mine", "a1:base"],
    ["a1:base", "b1:mine"],
  ]);
  const added = jobOf("a2");
  queue.add(added);
  expect(names("base")).toEqual(["a1:base", "a2", "b1:mine"]);
  queue.remove(added);
  expect(names("base")).toEqual(["a1:base", "b1:mine"]);
  next(queue, "base");
  expect(names("base")).toEqual(["b1:mine"]);
  queue.drain();
  expect(names("base")).toEqual([]);
});

describe("where no more may wait", () => {
  test.each<[string, string[], string | undefined]>([
    ["b", ["a1", "a2", "a3"], "a3"],
    ["b", ["a.x1", "a.x2", "a.y1"], "a.x2"],
    ["b", ["a1", "a2", "b1"], undefined],
    ["b", ["a1", "a2", "a3", "b1"], "a3"],
    ["b", ["a1", "b1", "b2", "b3"], undefined],
    ["c", ["a1", "b1"], undefined],
    ["a", [], undefined],
  ])("another one from %p among %p: %p gives way", (network, waiting, name) => {
    const displaced = queueOf(...waiting).displacedBy([jobOf(`${network}9`)], waiting.length);
    expect(displaced?.map((job) => job.name)).toEqual(name === undefined ? undefined : [name]);
  });

  test("several have room all together, or none of them", () => {
    const queue = queueOf("a1", "a2", "a.x3", "a.x4", "c1");
    const displaced = (most: number, ...names: string[]) =>
      queue.displacedBy(names.map(jobOf), most)?.map(({ name }) => name);
    expect(displaced(6, "b1")).toEqual([]);
    expect(displaced(6, "b1", "b2")).toEqual(["a.x4"]);
    expect(displaced(5, "b1", "b2")).toEqual(["a.x4", "a2"]);
    expect(displaced(5, "b1", "b2", "b3")).toBeUndefined();
    expect(queue.size).toBe(5);
  });
});

describe("models", () => {
  test("the resident one goes first, within limits", () => {
    const base = Array.from({ length: 12 }, (_, at) => `${String.fromCharCode(98 + at)}1`);
    const order = takeAll(queueOf("a1:mine", ...base));
    expect(order.indexOf("a1:mine")).toBe(MAX_OVERTAKEN);
  });

  test("alternating requests are sorted into few switches", () => {
    const order = takeAll(queueOf("a1:x", "b1:y", "c1:x", "d1:y", "e1:x"), "x");
    expect(order).toEqual(["a1:x", "c1:x", "e1:x", "b1:y", "d1:y"]);
  });
});

test("who has gone is not served", () => {
  const queue = new FairQueue<Job>();
  const [one, two] = ["a1", "a2"].map(jobOf);
  if (one === undefined || two === undefined) throw new Error("unreachable");
  queue.add(one);
  queue.add(two);
  expect([queue.remove(one), queue.remove(one), queue.size]).toEqual([true, false, 1]);
  expect([queue.has(one), queue.has(two)]).toEqual([false, true]);
  expect([next(queue, "base"), next(queue, "base"), queue.size]).toEqual([two, undefined, 0]);
  queue.add(one);
  expect([queue.drain(), queue.size, next(queue, "base")]).toEqual([[one], 0, undefined]);
});

test("whatever comes and goes: nothing is lost, order holds for a user, nobody waits for ever", () => {
  const job = fc.record({
    network: fc.constantFrom("a", "b"),
    user: fc.constantFrom("c", "d"),
    model: fc.constantFrom("x", "y", "z"),
  });
  const step = fc.oneof({ arbitrary: job, weight: 2 }, { arbitrary: fc.constant("take" as const), weight: 1 });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const queue = new FairQueue<QueuedJob & { readonly at: number }>();
      const served = new Map<string, number>();
      let resident: QueuedJob["model"] | undefined;
      let [added, taken] = [0, 0];
      const take = (): void => {
        const job = next(queue, resident);
        if (job === undefined) return;
        const client = `${job.network} ${job.user}`;
        expect(job.at).toBeGreaterThan(served.get(client) ?? -1);
        served.set(client, job.at);
        resident = job.model;
        taken++;
      };
      for (const [at, one] of steps.entries()) {
        if (one === "take") take();
        else {
          queue.add({ ...one, at });
          added++;
        }
      }
      while (queue.size > 0) take();
      expect(taken).toBe(added);

      // A flood of requests for the resident model, from clients without end, against one for another.
      queue.add({ network: "patient", user: "", model: "other", at: 0 });
      let waited = 0;
      for (; waited < 100; waited++) {
        queue.add({ network: `flood ${waited}`, user: "", model: "x", at: waited });
        if (next(queue, "x")?.network === "patient") break;
      }
      expect(waited).toBeLessThanOrEqual(MAX_OVERTAKEN);
    }),
    { numRuns: 50 },
  );
});
