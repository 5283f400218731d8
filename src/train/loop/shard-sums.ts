import type { Device, DeviceBuffer } from "../../compute/device/device.ts";
import { recordAdded } from "../../compute/tensor/elementwise.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { type Tensor, tensorIn } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import type { Parameters } from "../../adapters/method/parameters.ts";
import type { Processes } from "../../mpi/processes.ts";

/** Numbers that shards have a sum of: buffers of whole vectors. */
interface Part {
  readonly buffer: DeviceBuffer;
  readonly size: number;
}

/** A stretch of a part. */
interface Stretch extends Part {
  readonly from: number;
}

/** Numbers of a row that are added in one go; what is less than a row is one of its own. */
const ROW = 4096;
/** Numbers of the loss's buffer: as many as make the begin of a binding. */
const LOSS = 64;
/** Bytes of each process that are gathered at once, and of all of them together. */
const PIECE = 2 ** 22;
const GATHERED = 2 ** 26;

/**
 * The sums over the shards of a step: of the gradients, where they lie, and of the loss. They are added in one binary tree
 * of shards ((0 + 1) + (2 + 3)) + …, on the device, whichever process computed them: f32 sums depend on the order.
 */
export class ShardSums {
  /** (1, LOSS): the loss of the shard that is worked on, in its first number. */
  readonly loss: Tensor;
  readonly #gpu: Device;
  readonly #run: Run;
  readonly #processes: Processes;
  readonly #parts: readonly Part[];
  /** Sums of earlier shards, of one for each level of the tree. */
  readonly #levels: readonly (readonly DeviceBuffer[])[];
  /** How many shards were added: its bits say which levels hold a sum. */
  #held = 0;
  /** What of a piece each process has, one after another. */
  readonly #gathered: DeviceBuffer | undefined;
  readonly #piece: number;

  /**
   * @param shards of a step, a power of two that the processes divide
   * @throws RandloraError `memory`
   */
  constructor(gpu: Device, run: Run, { chunks }: Parameters, shards: number, processes: Processes) {
    this.#gpu = gpu;
    this.#run = run;
    this.#processes = processes;
    const { memory } = gpu;
    const loss = memory.allocate("shards.loss", LOSS * 4);
    this.loss = tensorIn(loss, [1, LOSS], "F32");
    this.#parts = [...chunks.map(({ gradient, size }) => ({ buffer: gradient, size })), { buffer: loss, size: LOSS }];
    this.#levels = Array.from({ length: Math.log2(shards / processes.size) }, () =>
      this.#parts.map(({ size }) => memory.allocate("shards.sum", size * 4)),
    );
    const largest = Math.max(...this.#parts.map(({ size }) => size)) * 4;
    const { maxBindingSize } = gpu.limits;
    const most = Math.min(PIECE, GATHERED / processes.size, maxBindingSize / processes.size, largest);
    this.#piece = Math.max(LOSS, Math.floor(most / 4 / LOSS) * LOSS);
    this.#gathered =
      processes.size === 1 ? undefined : memory.allocate("shards.gathered", this.#piece * 4 * processes.size);
    gpu.clear([loss]);
  }

  /** Adds a shard that has been sent to those of its process before it. `send` sends what is recorded. */
  async add(isLast: boolean, send: () => Promise<void> | void): Promise<void> {
    let level = 0;
    for (; (this.#held & (1 << level)) !== 0; level++) this.#addLevel(level);
    if (level > 0) await send();
    // As a binary counter counts: the levels that were added are free, the next one is taken.
    this.#held = isLast ? 0 : this.#held + 1;
    if (isLast) return;
    const aside = itemAt(this.#levels, level);
    this.#gpu.copy(
      this.#parts.map(({ buffer, size }, at) => ({ from: buffer, to: itemAt(aside, at), size: size * 4 })),
    );
    this.#gpu.clear(this.#parts.map(({ buffer }) => buffer));
  }

  /** Adds what the other processes have. @throws RandloraError `gpu`, `memory`; EndedByOther */
  async addOthers(): Promise<void> {
    const { size } = this.#processes;
    const gathered = this.#gathered;
    if (gathered === undefined) return;
    for (const { buffer, from, size: count } of this.#stretches()) {
      const range = { buffer, offset: from * 4, size: count * 4 };
      const own = await this.#gpu.readWith([range], async ([bytes]) => bytes?.slice() ?? new Uint8Array());
      const all = await this.#processes.gather(own);
      for (const [rank, bytes] of all.entries()) this.#gpu.write(gathered, bytes, rank * count * 4);
      const ofRank = (rank: number) => ({ buffer: gathered, from: rank * count, size: count });
      for (let step = 1; step < size; step *= 2) {
        for (let at = 0; at < size; at += 2 * step) recordSum(this.#run, ofRank(at), ofRank(at + step));
      }
      await this.#run.submit();
      this.#gpu.copy([{ from: gathered, to: buffer, toOffset: from * 4, size: count * 4 }]);
    }
  }

  release(): void {
    const own = [this.loss.buffer, ...this.#levels.flat(), ...(this.#gathered ? [this.#gathered] : [])];
    for (const buffer of own) this.#gpu.memory.release(buffer);
  }

  #addLevel(level: number): void {
    const earlier = itemAt(this.#levels, level);
    for (const [at, { buffer, size }] of this.#parts.entries()) {
      recordSum(this.#run, { buffer, from: 0, size }, { buffer: itemAt(earlier, at), from: 0, size });
    }
  }

  *#stretches(): Generator<Stretch> {
    for (const { buffer, size } of this.#parts) {
      for (let from = 0; from < size; from += this.#piece) {
        yield { buffer, from, size: Math.min(this.#piece, size - from) };
      }
    }
  }
}

/** Records to += other, stretches of one size. */
function recordSum(run: Run, to: Stretch, other: Stretch): void {
  for (const [first, shape] of rowsOf(to.size)) {
    const rows = ({ buffer, from }: Stretch): Tensor => {
      return { shape, dtype: "F32", buffer, offset: from + first, pitch: shape[1] };
    };
    recordAdded(run, rows(other), rows(to));
  }
}

/** Whole rows, and what is left of one. */
function rowsOf(size: number): (readonly [first: number, shape: readonly [number, number]])[] {
  const rows = Math.floor(size / ROW);
  const rest = size - rows * ROW;
  const all = [
    [0, [rows, ROW]],
    [rows * ROW, [1, rest]],
  ] as const;
  return all.filter(([, [count, width]]) => count > 0 && width > 0);
}
