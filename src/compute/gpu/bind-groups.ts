/** A buffer, or a range of one in bytes, as one binding of a group. */
export interface Bound {
  readonly buffer: GPUBuffer;
  readonly offset?: number;
  readonly size?: number;
}

/** A group that is kept, and what it binds. */
interface Kept {
  readonly group: GPUBindGroup;
  readonly bound: readonly Bound[];
}

/**
 * Groups kept at most: several times what a decoded token needs. Each one may hold a mapping of memory in some drivers,
 * as dispatches on their way do; see `Sender`.
 */
const MOST = 4096;

/**
 * The bind groups of a device, each made once: making one costs more than recording the dispatch that uses it. Binding n
 * of a group is the n-th range. The group that was made first goes when there are too many, and those of a buffer that
 * is destroyed go with it.
 */
export class BindGroups {
  readonly #device: GPUDevice;
  readonly #kept = new Map<string, Kept>();
  readonly #keysOf = new Map<GPUBuffer, Set<string>>();
  readonly #numbers = new WeakMap<object, number>();
  #last = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Groups that are kept. */
  get count(): number {
    return this.#kept.size;
  }

  /** The group of these ranges. Where the layout has dynamic offsets, a range's own offset is added to them. */
  get(layout: GPUBindGroupLayout, bound: readonly Bound[]): GPUBindGroup {
    let key = `${this.#numberOf(layout)}`;
    for (const { buffer, offset = 0, size = "" } of bound) key += ` ${this.#numberOf(buffer)}+${offset}:${size}`;
    const known = this.#kept.get(key);
    if (known !== undefined) return known.group;
    const entries = bound.map((resource, binding) => ({ binding, resource }));
    const group = this.#device.createBindGroup({ layout, entries });
    if (this.#kept.size >= MOST) for (const [oldest] of this.#kept.entries().take(1)) this.#forget(oldest);
    this.#kept.set(key, { group, bound });
    for (const { buffer } of bound) {
      const keys = this.#keysOf.get(buffer);
      if (keys === undefined) this.#keysOf.set(buffer, new Set([key]));
      else keys.add(key);
    }
    return group;
  }

  /** Forgets the groups that bind this buffer. */
  drop(buffer: GPUBuffer): void {
    for (const key of this.#keysOf.get(buffer) ?? []) this.#forget(key);
  }

  #forget(key: string): void {
    for (const { buffer } of this.#kept.get(key)?.bound ?? []) {
      const keys = this.#keysOf.get(buffer);
      keys?.delete(key);
      if (keys?.size === 0) this.#keysOf.delete(buffer);
    }
    this.#kept.delete(key);
  }

  #numberOf(object: object): number {
    let number = this.#numbers.get(object);
    if (number === undefined) this.#numbers.set(object, (number = ++this.#last));
    return number;
  }
}
