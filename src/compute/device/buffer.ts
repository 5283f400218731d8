/** Memory on a device; only what made it knows where it is. */
export interface DeviceBuffer {
  /** Bytes that were asked for. */
  readonly size: number;
  readonly label: string;
}

/** Names of buffers of one size, and those. */
export type Labels = readonly [string, ...string[]];
export type Buffers<L extends Labels, B extends DeviceBuffer = DeviceBuffer> = { readonly [K in keyof L]: B };

/** A buffer for each label. */
export function eachOf<L extends Labels, B extends DeviceBuffer>(
  labels: L,
  make: (label: string, index: number) => B,
): Buffers<L, B> {
  return labels.map(make) as Buffers<L, B>; // as many as labels
}

/** A buffer, or a range of one (bytes), as an operand of a command. A range begins at a multiple of 256 bytes. */
export type Binding = DeviceBuffer | { readonly of: DeviceBuffer; readonly offset: number; readonly size: number };

/** A part of a buffer, in bytes; the offset is a multiple of 4. */
export interface Range {
  readonly buffer: DeviceBuffer;
  readonly offset: number;
  readonly size: number;
}

/**
 * A device's buffers. `liveBytes` are in use; `idleBytes` wait to be reused; `peakBytes` is the most that ever existed
 * at once, `peakLiveBytes` the most that ever were in use.
 */
export interface DeviceMemory {
  /** Bytes that may exist at once: `--memory`. Infinity: nobody said. */
  readonly limit: number;
  readonly liveBytes: number;
  readonly idleBytes: number;
  readonly peakBytes: number;
  readonly peakLiveBytes: number;
  /**
   * A buffer of at least `size` bytes. Its content is undefined when it is reused.
   * @throws RandloraError `memory` when the device cannot make a buffer of this size, or it would exceed the limit; a device
   *   that is merely full may say so to whoever uses the buffer, or when it is next waited for
   */
  allocate(label: string, size: number): DeviceBuffer;
  /**
   * Such buffers, one a label, that the same commands work on, such as a cache's keys and values: near each other, where that
   * matters.
   * @throws RandloraError as `allocate`
   */
  allocateTogether<L extends Labels>(labels: L, size: number): Buffers<L>;
  /**
   * Waits until the device has said of all buffers whether it has room for them.
   * @throws RandloraError `memory` where there is no room for one of these
   */
  confirm(buffers: readonly DeviceBuffer[]): Promise<void>;
  /** Gives a buffer back; work that was submitted before may still use it. */
  release(buffer: DeviceBuffer): void;
  /**
   * From now on idle buffers go where more would exist with them than was in use at most so far: that much there is, as
   * it was there before; of more nobody knows. Destroys the idle buffers.
   */
  stayWithinPeak(): void;
  /** Begins to count anew, for work that has nothing to do with what came before: the peaks are what is in use now. */
  restart(): void;
  /**
   * Destroys the idle buffers that were not used since the last call: called between texts, it keeps what the last one
   * took and lets go of what an unusual one before it did.
   */
  dropUnused(): void;
  /** Destroys the idle buffers. */
  trim(): void;
}

/** What a plan goes by. */
export interface DeviceLimits {
  /** Bytes of one buffer at most. */
  readonly maxBufferSize: number;
  /** Bytes that one command of a device reads at once: what is larger is taken in parts, if its family can. */
  readonly maxBindingSize: number;
  /** Bytes of several buffers that one command works on without copying one to where another is. */
  readonly maxTogether: number;
  /** Rows of activations that one command takes. */
  readonly maxRows: number;
}
