// A card of 8 GB whose driver resets it after 2 seconds of one submission: nothing is computed, but what exists and how long it would take are counted.
import { spyOn } from "bun:test";
import { countingDevice } from "../counting.ts";
import type { Workgroups } from "../context.ts";
import { createInstance } from "../dawn.ts";
import { Gpu } from "../gpu.ts";
import type { GpuKernel, Operand, UniformMembers, UniformValues } from "../kernels/parameters.ts";
import { nativeBuffer } from "../memory.ts";
import { GpuRecording } from "../recording.ts";
import { Stream } from "../stream.ts";

/** Operations and bytes a second of a slow integrated GPU. */
const [FLOPS, BANDWIDTH] = [1e11, 3e10];

/** What a card has seen. */
export interface Seen {
  /** Bytes of buffers at once, those among them that were destroyed while submitted work used them. */
  peak: number;
  /** Seconds of each submission. */
  readonly seconds: number[];
  /** Operations of all. */
  work: number;
}

/** A GPU that counts like a card with so many bytes: what is destroyed exists until all that was submitted before has run, which is when somebody waits. */
export function smallCard(real: Gpu, memory: number): { readonly gpu: Gpu; readonly seen: Seen } & Disposable {
  const device = countingDevice(real.device);
  const seen: Seen = { peak: 0, seconds: [], work: 0 };
  let [held, leaving, seconds] = [0, 0, 0];
  const { createBuffer, queue } = device;
  const made = new WeakSet<GPUBuffer>();
  /** What commands use that have been sent and not waited for. */
  const used = new Set<GPUBuffer>();
  const drain = async (): Promise<undefined> => {
    held -= leaving;
    leaving = 0;
    used.clear();
  };
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    made.add(buffer);
    held += descriptor.size;
    seen.peak = Math.max(seen.peak, held);
    buffer.destroy = () => {
      if (used.has(buffer)) leaving += descriptor.size;
      else held -= descriptor.size;
    };
    buffer.mapAsync = drain;
    return buffer;
  };
  queue.onSubmittedWorkDone = drain;
  queue.submit = () => {
    seen.seconds.push(seconds);
    seconds = 0;
  };
  const works = new WeakMap<ArrayBufferView, number>();
  const { dispatch } = GpuRecording.prototype;
  const recorded = spyOn(GpuRecording.prototype, "dispatch").mockImplementation(function <M extends UniformMembers>(
    this: GpuRecording,
    source: GpuKernel<M>,
    ...given: [UniformValues<M>, readonly Operand[], Workgroups, number?]
  ) {
    const [, , workgroups, work = workgroups.reduce<number>((all, count = 1) => all * count, 64 * 256)] = given;
    const pack = (values: UniformValues<M>) => {
      const packed = source.parameters(values);
      works.set(packed, work);
      return packed;
    };
    const { members } = source.parameters;
    dispatch.call<GpuRecording, [GpuKernel<M>, ...typeof given], void>(
      this,
      { ...source, parameters: Object.assign(pack, { members }) },
      ...given,
    );
  });
  const streamed = Stream.prototype.dispatch;
  const sent = spyOn(Stream.prototype, "dispatch").mockImplementation(function (this: Stream, ...given) {
    const [, parameters, buffers] = given;
    const work = works.get(parameters) ?? 0;
    const bound = buffers.map((binding) => nativeBuffer("of" in binding ? binding.of : binding));
    // Estimates are made on other devices, of the same weights.
    if (bound.every((buffer) => made.has(buffer))) {
      for (const buffer of bound) used.add(buffer);
      seen.work += work;
      const bytes = buffers.reduce((sum, { size }) => sum + size, 0);
      seconds += Math.max(work / FLOPS, bytes / BANDWIDTH);
    }
    streamed.apply(this, given);
  });
  const restore = (): void => {
    for (const spy of [recorded, sent]) spy.mockRestore();
  };
  const gpu = Gpu.on({ instance: createInstance([]), device, info: { ...real.info, software: false } }, { memory });
  return { gpu, seen, [Symbol.dispose]: restore };
}
