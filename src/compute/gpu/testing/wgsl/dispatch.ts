import { type CompiledShader } from "./compile.ts";
import type { Tally } from "./costs.ts";
import { CheckedMemory, type Clock, type Report } from "./memory.ts";
import type { GlobalSyntax } from "./syntax.ts";

/** Bytes of a buffer that a binding shows. */
export interface BoundBytes {
  readonly buffer: ArrayBuffer;
  readonly offset: number;
  readonly size: number;
}

/** What counts instead of checking (counts.ts). */
export interface Counter {
  readonly tally: Tally;
  /** The workgroups that run. */
  readonly groups: readonly Workgroup[];
  memory(global: GlobalSyntax, bytes: BoundBytes): CheckedMemory;
  /** An invocation of the workgroup goes on. */
  enter(thread: number): void;
  /** All have come to a barrier, or to their ends. */
  pass(): void;
}

export type Workgroup = readonly [x: number, y: number, z: number];

/** Phases are counted over all dispatches, so that what memory notes of earlier ones is known to be old. */
let phases = 1;

/** Runs a shader, one workgroup after the other, and reports whatever no driver has to make work. */
export function runDispatch(
  shader: CompiledShader,
  bindings: readonly BoundBytes[],
  workgroups: Workgroup,
  report: Report,
  counter?: Counter,
): void {
  const [storage, workgroup]: [Clock, Clock] = [newClock(), newClock()];
  const memories = new Map(
    shader.globals.map((global) => {
      const bytes = bytesOf(shader, global, bindings);
      return [global.name, counter?.memory(global, bytes) ?? memoryOf(global, bytes, { storage, workgroup }, report)];
    }),
  );
  const run = shader.bind(memories, report, counter?.tally);
  const [width, height, depth] = shader.workgroupSize;
  const threads = width * height * depth;
  storage.dispatch = ++phases;
  let number = 0;
  for (const group of counter?.groups ?? every(workgroups)) {
    storage.workgroup = storage.phase = workgroup.dispatch = workgroup.workgroup = workgroup.phase = ++phases;
    const first = threads * number++;
    const builtinsOf = (thread: number) => {
      const local = [thread % width, Math.floor(thread / width) % height, Math.floor(thread / width / height)] as const;
      return {
        workgroup_id: group,
        local_invocation_index: thread,
        local_invocation_id: local,
        global_invocation_id: [group[0] * width + local[0], group[1] * height + local[1], group[2] * depth + local[2]],
        num_workgroups: workgroups,
      };
    };
    runWorkgroup(
      shader,
      threads,
      report,
      (thread) => {
        counter?.enter(thread);
        storage.invocation = workgroup.invocation = first + thread;
        return () => run(builtinsOf(thread));
      },
      (barrier) => {
        counter?.pass();
        if (barrier === "storageBarrier") storage.phase = ++phases;
        else workgroup.phase = ++phases;
      },
    );
    counter?.pass();
  }
}

function* every([x, y, z]: Workgroup): Generator<Workgroup> {
  for (let groupZ = 0; groupZ < z; groupZ++) {
    for (let groupY = 0; groupY < y; groupY++) {
      for (let groupX = 0; groupX < x; groupX++) yield [groupX, groupY, groupZ];
    }
  }
}

function newClock(): Clock {
  return { invocation: 0, dispatch: 0, workgroup: 0, phase: 0 };
}

function bytesOf(shader: CompiledShader, global: GlobalSyntax, bindings: readonly BoundBytes[]): BoundBytes {
  if (global.space === "workgroup") {
    const size = 4 * shader.wordsOf(global);
    return { buffer: new ArrayBuffer(size), offset: 0, size };
  }
  const bound = bindings[global.binding ?? -1];
  if (bound === undefined) throw new Error(`nothing is bound as ${global.name}`);
  return bound;
}

function memoryOf(
  { name, space, writable }: GlobalSyntax,
  bytes: BoundBytes,
  clocks: { readonly storage: Clock; readonly workgroup: Clock },
  report: Report,
): CheckedMemory {
  if (space === "workgroup") return new CheckedMemory(name, bytes, "fresh", clocks.workgroup, report);
  return new CheckedMemory(name, bytes, writable ? "writable" : "readonly", clocks.storage, report);
}

/**
 * Runs all invocations of a workgroup from barrier to barrier, forwards and backwards in turn.
 * @param enter makes an invocation the running one, and gives what begins it
 */
function runWorkgroup(
  { barriers }: CompiledShader,
  threads: number,
  report: Report,
  enter: (thread: number) => () => Iterator<number, void> | undefined,
  pass: (barrier: string) => void,
): void {
  const running = new Map<number, Iterator<number, void>>();
  for (let thread = 0; thread < threads; thread++) {
    const started = enter(thread)();
    if (started !== undefined) running.set(thread, started);
  }
  for (let isBackwards = true; running.size > 0; isBackwards = !isBackwards) {
    const reached = new Set<number>();
    const before = running.size;
    const order = [...running.keys()];
    for (const thread of isBackwards ? order.toReversed() : order) {
      enter(thread);
      const { done, value } = running.get(thread)?.next() ?? { done: true, value: undefined };
      if (done === true || value === undefined) running.delete(thread);
      else reached.add(value);
    }
    const [first, ...others] = [...reached].map((index) => barriers[index]);
    if (first === undefined) return;
    if (running.size < before || others.length > 0) {
      const where = others.length > 0 ? `others come to that of line ${others[0]?.line}` : "others have returned";
      report(`${first.name} in divergent control flow: ${where}`, first.line);
      return;
    }
    pass(first.name);
  }
}
