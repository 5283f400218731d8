import { createInstance } from "../src/compute/gpu/dawn.ts";
import { Gpu } from "../src/compute/gpu/gpu.ts";
import { type Counts, countDispatch } from "../src/compute/gpu/testing/wgsl/counts.ts";
import {
  type Asked,
  type InterpretedDispatch,
  interpretingDevice,
  type Watcher,
} from "../src/compute/gpu/testing/wgsl/device.ts";

/** Bytes that buffers hold: what decides which way kernels go (parameters, ids, rows) is smaller. */
const HELD = 2 ** 16;
/** What cards of today allow. */
const LIMITS = { maxBufferSize: 2 ** 34, maxStorageBufferBindingSize: 2 ** 31 };

/** Dispatches of one kernel that work on as much. */
export interface Recorded {
  readonly kernel: string;
  readonly workgroups: readonly number[];
  readonly counts: Counts;
  times: number;
}

/** What a program asked of a GPU. */
export type Recording = Readonly<Record<Asked, number>> & { readonly dispatches: readonly Recorded[] };

const NOTHING: Readonly<Record<Asked, number>> = { passes: 0, submissions: 0, bytesWritten: 0, bytesRead: 0 };

/** A GPU that computes nothing, and what its dispatches take. */
export class RecordedGpu {
  readonly gpu: Gpu;
  #sums = { ...NOTHING };
  #dispatches: Map<string, Recorded> | undefined;

  constructor(integerDots: boolean) {
    // The addon brings WebGPU's constants.
    const instance = createInstance([]);
    const watcher: Watcher = {
      found: ({ kernel, what }) => {
        throw new Error(`${kernel}: ${what}`);
      },
      held: HELD,
      dispatching: (dispatch) => this.#count(dispatch),
      asked: (what, count) => void (this.#sums[what] += count),
    };
    const device = interpretingDevice(watcher, LIMITS);
    const info = { name: "recorded", vendor: "", architecture: "", driver: "", software: false, features: [] };
    this.gpu = Gpu.on({ instance, device, info: { ...info, subgroupMinSize: 0, subgroupMaxSize: 0, integerDots } });
  }

  /** What `work` asks for. Dispatches are counted when they are first met. */
  async record(work: () => Promise<unknown>): Promise<Recording> {
    const dispatches = (this.#dispatches = new Map<string, Recorded>());
    this.#sums = { ...NOTHING };
    await work();
    this.#dispatches = undefined;
    return { dispatches: [...dispatches.values()], ...this.#sums };
  }

  #count(dispatch: InterpretedDispatch): void {
    if (this.#dispatches === undefined) return;
    const { kernel, workgroups, bindings } = dispatch;
    const key = `${kernel} ${workgroups.join()} ${bindings.map(({ size }) => size).join()}`;
    const known = this.#dispatches.get(key);
    if (known !== undefined) known.times += 1;
    else this.#dispatches.set(key, { kernel, workgroups, counts: countDispatch(dispatch), times: 1 });
  }
}
