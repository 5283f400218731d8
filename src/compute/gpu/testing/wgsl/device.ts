import { compileShader, type CompiledShader } from "./compile.ts";
import { type BoundBytes, runDispatch } from "./dispatch.ts";

/** Something in a kernel that no driver has to make work. */
export interface Finding {
  readonly kernel: string;
  readonly what: string;
  /** The kernel's line, as it is compiled. */
  readonly source: string;
}

/** One dispatch, for those that want to run it again. */
export interface InterpretedDispatch {
  readonly kernel: string;
  readonly code: string;
  readonly bindings: readonly BoundBytes[];
  readonly workgroups: readonly [number, number, number];
}

/** What WebGPU promises everywhere. */
const LIMITS = {
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
  maxStorageBuffersPerShaderStage: 8,
  maxUniformBufferBindingSize: 2 ** 16,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65_535,
  minStorageBufferOffsetAlignment: 256,
  minUniformBufferOffsetAlignment: 256,
};

/** Words of new memory: a number that is none, so that what reads it shows. */
const GARBAGE = 0x7fc0dead;

/** Where dispatches do not run: numbers about zero. */
const NOISE = Float32Array.from({ length: 2 ** 14 }, (_, at) => Math.sin(at * at));

interface Buffer {
  readonly size: number;
  readonly bytes: ArrayBuffer;
}

interface Pipeline {
  readonly kernel: string;
  readonly code: string;
  readonly shader: CompiledShader;
}

interface Group {
  readonly bound: readonly { readonly buffer: Buffer; readonly offset: number; readonly size: number }[];
}

/** Objects of WebGPU's types, which have what this device works with behind them. */
class Handles<Handle extends object, Own> {
  readonly #own = new WeakMap<Handle, Own>();

  make(own: Own, handle: Partial<Handle> = {}): Handle {
    const made = handle as Handle;
    this.#own.set(made, own);
    return made;
  }

  of(handle: Handle | null | undefined): Own {
    const own = handle ? this.#own.get(handle) : undefined;
    if (own === undefined) throw new TypeError("an object of another device");
    return own;
  }
}

/** What is seen of the device beside its work. */
export interface Watcher {
  found(finding: Finding): void;
  /** Before a dispatch runs. */
  dispatching?(dispatch: InterpretedDispatch): void;
  /** Bytes that a buffer holds at most, but for those that are mapped: of larger ones, the first. Dispatches then do not run. */
  readonly held?: number;
  /** What is asked of the device beside dispatches. */
  asked?(what: Asked, count: number): void;
}

export type Asked = "passes" | "submissions" | "bytesWritten" | "bytesRead";

/**
 * A device of WebGPU that interprets shaders, and tells of races, indices beyond the end, memory never written and barriers in
 * divergent control flow. Commands run when they are submitted.
 * @param limits of the device that are not those of every GPU
 */
export function interpretingDevice(
  { found: tell, dispatching, asked, held = Infinity }: Watcher,
  limits: Partial<typeof LIMITS> = {},
): GPUDevice {
  const listeners: ((event: GPUUncapturedErrorEvent) => void)[] = [];
  const found = (finding: Finding): void => {
    tell(finding);
    const { kernel, what, source } = finding;
    const event = { preventDefault: nothing, error: { message: `${kernel}: ${what}: ${source}` } };
    for (const listener of listeners) listener(event as Partial<GPUUncapturedErrorEvent> as GPUUncapturedErrorEvent);
  };
  const done = async (): Promise<undefined> => undefined;
  const nothing = (): undefined => undefined;
  const buffers = new Handles<GPUBuffer, Buffer>();
  const modules = new Handles<GPUShaderModule, Pipeline>();
  const pipelines = new Handles<GPUComputePipeline, Pipeline>();
  const groups = new Handles<GPUBindGroup, Group>();
  const lists = new Handles<GPUCommandBuffer, readonly (() => void)[]>();
  const bytesOf = (buffer: GPUBuffer, offset = 0, size = Infinity): Uint8Array<ArrayBuffer> =>
    new Uint8Array(buffers.of(buffer).bytes).subarray(offset, offset + size);
  const place = (buffer: GPUBuffer, at: number, source: Uint8Array<ArrayBuffer>): void => {
    const target = bytesOf(buffer, at);
    target.set(source.subarray(0, target.length));
  };

  function createCommandEncoder(): GPUCommandEncoder {
    const commands: (() => void)[] = [];
    let pipeline: Pipeline;
    let group: { readonly of: Group; readonly offset: number };
    const pass: Partial<GPUComputePassEncoder> = {
      setPipeline: (next) => void (pipeline = pipelines.of(next)),
      setBindGroup(_: number, next: GPUBindGroup | null | undefined, offsets: Iterable<number> = []) {
        const [offset = 0] = offsets;
        group = { of: groups.of(next), offset };
      },
      dispatchWorkgroups(x, y = 1, z = 1) {
        const { kernel, code, shader } = pipeline;
        const { of, offset: dynamic } = group;
        const bindings = of.bound.map(({ buffer, offset, size }, index) => ({
          buffer: buffer.bytes,
          offset: index === 0 ? offset + dynamic : offset,
          size,
        }));
        commands.push(() => {
          dispatching?.({ kernel, code, bindings, workgroups: [x, y, z] });
          if (held === Infinity) runDispatch(shader, bindings, [x, y, z], reporter(kernel, code, found));
        });
      },
      end: nothing,
    };
    const copy = (from: GPUBuffer, fromAt: number, to: GPUBuffer, toAt: number, size: number): void => {
      if ((to.usage & GPUBufferUsage.MAP_READ) !== 0) asked?.("bytesRead", size);
      commands.push(() => place(to, toAt, bytesOf(from, fromAt, size)));
    };
    const encoder: Partial<GPUCommandEncoder> = {
      beginComputePass() {
        asked?.("passes", 1);
        return pass as GPUComputePassEncoder;
      },
      copyBufferToBuffer: copy as GPUCommandEncoder["copyBufferToBuffer"],
      clearBuffer: (buffer, offset, size) => void commands.push(() => bytesOf(buffer, offset, size).fill(0)),
      finish: () => lists.make(commands),
    };
    return encoder as GPUCommandEncoder;
  }

  return {
    limits: { ...LIMITS, ...limits } as Partial<GPUSupportedLimits> as GPUSupportedLimits,
    features: new Set<string>() as Partial<GPUSupportedFeatures> as GPUSupportedFeatures,
    queue: {
      writeBuffer(
        buffer: GPUBuffer,
        at: number,
        source: Uint8Array<ArrayBuffer>,
        from = 0,
        size = source.length - from,
      ) {
        asked?.("bytesWritten", size);
        place(buffer, at, source.subarray(from, from + size));
      },
      submit(sent) {
        asked?.("submissions", 1);
        for (const list of sent) lists.of(list).forEach((run) => run());
      },
      onSubmittedWorkDone: done,
    } as Partial<GPUQueue> as GPUQueue,
    lost: new Promise<GPUDeviceLostInfo>(nothing),
    addEventListener: (_: string, listener: (event: GPUUncapturedErrorEvent) => void) => void listeners.push(listener),
    pushErrorScope: nothing,
    popErrorScope: async () => null,
    createBuffer({ size, label = "", usage, mappedAtCreation = false }: GPUBufferDescriptor) {
      const isMapped = mappedAtCreation || (usage & GPUBufferUsage.MAP_READ) !== 0;
      const bytes = new ArrayBuffer(isMapped ? size : Math.min(size, held));
      const words = new Uint32Array(bytes);
      if (held === Infinity) words.fill(GARBAGE);
      else words.set(new Uint32Array(NOISE.buffer).subarray(0, words.length));
      const mapping = { mapAsync: done, getMappedRange: () => bytes, unmap: nothing };
      return buffers.make({ size, bytes }, { label, size, usage, destroy: nothing, ...mapping });
    },
    createShaderModule: ({ label = "", code }: GPUShaderModuleDescriptor) => {
      const shader = compileShader(code);
      checkLimits(label, shader, found);
      return modules.make({ kernel: label, code, shader });
    },
    createBindGroupLayout: () => ({}) as GPUBindGroupLayout,
    createPipelineLayout: () => ({}) as GPUPipelineLayout,
    createBindGroup({ entries }: GPUBindGroupDescriptor) {
      const bound = [...entries].map(({ resource }) => {
        const { buffer, offset = 0, size } = resource as GPUBufferBinding;
        const own = buffers.of(buffer);
        return { buffer: own, offset, size: size ?? own.size - offset };
      });
      return groups.make({ bound });
    },
    createComputePipelineAsync: async ({ compute }: GPUComputePipelineDescriptor) =>
      pipelines.make(modules.of(compute.module)),
    createCommandEncoder,
    destroy: nothing,
  } as Partial<GPUDevice> as GPUDevice;
}

/** Reports each thing once a kernel and line. */
export function reporter(
  kernel: string,
  code: string,
  found: (finding: Finding) => void,
): (what: string, line: number) => void {
  const lines = code.split("\n");
  const told = new Set<string>();
  return (what, line) => {
    const key = `${line} ${what.replace(/\d+/g, "")}`;
    if (told.has(key)) return;
    told.add(key);
    found({ kernel, what, source: lines[line - 1]?.trim() ?? "" });
  };
}

function checkLimits(kernel: string, shader: CompiledShader, found: (finding: Finding) => void): void {
  const [x, y, z] = shader.workgroupSize;
  const shared = shader.globals.filter(({ space }) => space === "workgroup");
  const bytes = shared.reduce((sum, global) => sum + Math.ceil(shader.wordsOf(global) / 4) * 16, 0);
  const buffers = shader.globals.filter(({ space }) => space === "storage").length;
  for (const [what, value, most] of [
    ["invocations of a workgroup", x * y * z, LIMITS.maxComputeInvocationsPerWorkgroup],
    ["bytes of workgroup memory", bytes, LIMITS.maxComputeWorkgroupStorageSize],
    ["storage buffers", buffers, LIMITS.maxStorageBuffersPerShaderStage],
  ] as const) {
    if (value > most) found({ kernel, what: `${value} ${what}, and every GPU has ${most}`, source: "" });
  }
}
