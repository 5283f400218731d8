import { RandloraError } from "../../files/errors.ts";

/** A kernel ready to be compiled. Two kernels with equal `key` have equal `code`. */
export interface KernelSource {
  /** Family and variant, e.g. `gemv-lanes/BF16/1/8`. */
  readonly key: string;
  /** Complete WGSL with an entry point `main`. All bindings are in group 0. */
  readonly code: string;
}

/** A compiled kernel, as `Stream.dispatch` takes it. */
export interface Kernel {
  readonly key: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Compiles every kernel once, asynchronously; callers that ask for the same kernel share the work. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #kernels = new Map<string, Promise<Kernel>>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /**
   * The compiled kernel. Start early and await late: a first compile takes up to a second.
   * @throws RandloraError `gpu` naming the kernel, with the compiler's message
   */
  get(source: KernelSource): Promise<Kernel> {
    const known = this.#kernels.get(source.key);
    if (known !== undefined) return known;
    const compiled = this.#compile(source);
    this.#kernels.set(source.key, compiled);
    compiled.catch(() => this.#kernels.delete(source.key));
    return compiled;
  }

  async #compile({ key, code }: KernelSource): Promise<Kernel> {
    this.#device.pushErrorScope("validation");
    const module = this.#device.createShaderModule({ label: key, code });
    const invalid = await this.#device.popErrorScope();
    if (invalid !== null) throw new RandloraError("gpu", `kernel ${key} is not valid WGSL: ${invalid.message}`, REPORT);
    const layout = this.#device.createBindGroupLayout({ label: key, entries: bindingEntries(code) });
    try {
      const pipeline = await this.#device.createComputePipelineAsync({
        label: key,
        layout: this.#device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint: "main" },
      });
      return { key, pipeline, layout };
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new RandloraError("gpu", `kernel ${key} does not compile on this GPU: ${reason}`, REPORT, { cause });
    }
  }
}

const REPORT = "please report this with the output of `randlora doctor --json`";

const BINDING = /@group\(0\)\s*@binding\((\d+)\)\s*var<(uniform|storage)(?:,\s*(read_write|read))?>/g;

/**
 * The bind group layout that a shader declares. An `auto` layout would drop bindings that a variant does not use, and
 * every caller would have to know which.
 */
function bindingEntries(code: string): GPUBindGroupLayoutEntry[] {
  return [...code.matchAll(BINDING)].map(([, index, space, access]) => {
    const type = space === "uniform" ? "uniform" : access === "read_write" ? "storage" : "read-only-storage";
    // Where a dispatch's parameters lie is said when it is recorded, so that bind groups serve many.
    const buffer = { type, hasDynamicOffset: type === "uniform" } as const;
    return { binding: Number(index), visibility: GPUShaderStage.COMPUTE, buffer };
  });
}
