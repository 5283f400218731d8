import type { DeviceBuffer, DeviceLimits, DeviceMemory, Range } from "./buffer.ts";
import type { Families, Preparations, ScratchSizes } from "./families.ts";
import type { RunMemory } from "./run-memory.ts";
import type { Staging } from "./staging.ts";

export type { Binding, DeviceBuffer, DeviceLimits, DeviceMemory, Range } from "./buffer.ts";

/** What the program needs to know about the device that it runs on. */
export interface DeviceInfo {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** The driver's own description, with its version. */
  readonly driver: string;
  /** It computes on the processor, in the machine's memory. */
  readonly software: boolean;
}

/** What one kernel took. */
export interface KernelTime {
  readonly kernel: string;
  readonly calls: number;
  readonly seconds: number;
}

/** Commands that were taken out of a recording, to be sent as often as one likes. */
export interface Commands {
  /** How many they are. */
  readonly count: number;
  /** Sends them in their order. Does not wait until they have run. @throws RandloraError `gpu`, `memory` */
  send(): Promise<void>;
}

/**
 * Work that is written down before it is sent. Commands run in the order in which they were recorded, after all that was
 * sent, written, copied or cleared before they are sent.
 */
export interface Recording {
  readonly staging: Staging;
  /**
   * Records one command of a family. What the device makes of it (tiles, parts of large matrices, scratch from the
   * recording's memory, kernels that are compiled meanwhile) is its own affair.
   * @throws RandloraError `memory` for an operand that is too large for this device
   */
  compute<F extends keyof Families>(family: F, operands: Families[F]): void;
  /** Takes out what is recorded so far; the recording goes on. */
  take(): Commands;
  /** Does a little of all that is recorded, so that it is compiled where it will be needed, and forgets it. */
  rehearse(): Promise<void>;
  /** Gives back what the recording itself holds; it cannot be used afterwards. */
  [Symbol.dispose](): void;
}

/** Bytes to be copied between two buffers; the size and where they begin (at the begin by default) are multiples of 4. */
export interface Copy {
  readonly from: DeviceBuffer;
  readonly to: DeviceBuffer;
  readonly fromOffset?: number;
  readonly toOffset?: number;
  readonly size: number;
}

/** What computes: memory, and commands on it. One process opens one; `close` lets it end by itself. */
export interface Device {
  readonly info: DeviceInfo;
  readonly limits: DeviceLimits;
  readonly memory: DeviceMemory;
  /** How its kernels work, unless a recording says otherwise. */
  readonly staging: Staging;
  /** Products with ternary bases take less time the more zeros they have, and rows of those that are drawn, too (`TernaryRows`). */
  readonly skipsZeros: boolean;
  /** A row of a product has the same bits whatever rows are beside it, and however many: `rowsAtMost` says nothing to it. */
  readonly mixesRows: boolean;
  /** Where every kernel is timed (`--profile`): kernels by time, the longest first. Waits for what is still running. */
  readonly profiler: { report(): Promise<KernelTime[]> } | undefined;
  /** @param memory where scratch comes from */
  recording(memory: RunMemory, staging?: Staging): Recording;
  /**
   * Compiles ahead of the first command of a family what that would wait for.
   * @throws RandloraError `gpu` where it does not compile
   */
  prepare<F extends keyof Preparations>(family: F, variant: Preparations[F]): Promise<void>;
  /** Bytes of buffers that callers of a family hold for it. */
  scratchBytes<F extends keyof ScratchSizes>(family: F, of: ScratchSizes[F]["of"]): ScratchSizes[F]["bytes"];
  /** Copies bytes into a buffer before whatever is sent from now on; an odd end is padded to 4 bytes with zeros. */
  write(target: DeviceBuffer, source: ArrayBufferView<ArrayBuffer>, offset?: number): void;
  /** Copies between buffers before whatever is sent from now on. */
  copy(copies: readonly Copy[]): void;
  /** Fills whole buffers with zero bytes before whatever is sent from now on. */
  clear(buffers: readonly DeviceBuffer[]): void;
  /**
   * Reads ranges after everything sent so far has run, without a copy: the bytes that `use` sees are gone once it has
   * settled.
   * @throws RandloraError `gpu`, `memory`
   */
  readWith<T>(ranges: readonly Range[], use: (parts: Uint8Array<ArrayBuffer>[]) => Promise<T>): Promise<T>;
  /** Waits until everything sent so far has run. @throws RandloraError `gpu`, `memory` */
  idle(): Promise<void>;
  /** Throws the first failure of this device, if there was one. */
  check(): void;
  /**
   * A device like this one that computes nothing and holds nothing: what is done with it leaves in its `memory` what the
   * same would take here. It needs no closing.
   */
  counting(): Device;
  close(): void;
  [Symbol.dispose](): void;
}
