import type { Device } from "../../../compute/device/device.ts";
import { openDevice } from "../../../compute/open-device.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { PlannedShard } from "../../../files/safetensors/shards.ts";
import { SafetensorsWriter } from "../../../files/safetensors/writer.ts";
import { GgufSink } from "../to-gguf/sink.ts";
import type { OutputTensor } from "../plan.ts";
import { openWritten, openWrittenGguf } from "./output.ts";
import type { PreparedMerge } from "./prepare.ts";
import { type VerifiedAdapter, verifyMerge } from "./verify.ts";
import { type LoadedAdapter, type TensorReport, type TensorSink, writeMerged } from "./write.ts";

/** What came of some shards. */
export interface ShardFigures {
  readonly reports: readonly TensorReport[];
  /** With `verify`. */
  readonly maxErrorUlp?: number | undefined;
}

/** The device with the adapters on it: writes shards, and looks through them again where that was asked for. */
export class ShardWriter {
  readonly gpu: Device;
  readonly #merge: PreparedMerge;
  readonly #adapters: readonly LoadedAdapter[];
  readonly #verified: readonly VerifiedAdapter[];
  #sink: GgufSink | undefined;

  private constructor(
    gpu: Device,
    merge: PreparedMerge,
    adapters: readonly LoadedAdapter[],
    verified: readonly VerifiedAdapter[],
  ) {
    this.gpu = gpu;
    this.#merge = merge;
    this.#adapters = adapters;
    this.#verified = verified;
  }

  /** Opens the device, while the bases are drawn, and loads the adapters. @throws RandloraError as `openDevice`, `AdapterPlan.load` */
  static async open(merge: PreparedMerge): Promise<ShardWriter> {
    const { applied, options, clock, signal } = merge;
    const opening = openGpu(merge); // awaited below; bases are drawn meanwhile
    const adapters: LoadedAdapter[] = [];
    const verified: VerifiedAdapter[] = [];
    for (const [index, one] of applied.plans.entries()) {
      signal.throwIfAborted();
      const source = await one.load(signal);
      clock.end("bases");
      const factor = itemAt(applied.factors, index);
      adapters.push({ plan: one, factor, deltas: await source.upload(await opening) });
      // The GPU has them now; only a verification needs the copy in memory.
      if (options.verify) verified.push({ plan: one, source, factor });
      clock.end("device");
    }
    const gpu = await opening;
    Bun.gc(true); // what the bases were made of is large, and must not wait for the collector's next turn
    signal.throwIfAborted();
    return new ShardWriter(gpu, merge, adapters, verified);
  }

  /** What rounding to a GGUF file's blocks took off merged weights. */
  get blocksError(): number | undefined {
    return this.#sink?.blocksError;
  }

  /** @throws RandloraError as `writeMerged`, `verifyMerge` */
  async write(
    shards: readonly PlannedShard<OutputTensor>[],
    pathOf: (shard: PlannedShard) => string,
  ): Promise<ShardFigures> {
    const { options, checkpoint, gguf, observer, signal, clock } = this.#merge;
    const metadata = checkpoint.files[0]?.header.metadata ?? new Map<string, string>();
    const { rounding } = options;
    const reports = await writeMerged(
      {
        gpu: this.gpu,
        checkpoint,
        adapters: this.#adapters,
        rounding,
        signal,
        onTensor: (name) => observer.tensor(name),
        onBytes: (count) => observer.bytes(count),
      },
      shards,
      async (shard): Promise<TensorSink> =>
        gguf
          ? (this.#sink = await GgufSink.create(pathOf(shard), gguf))
          : await SafetensorsWriter.create(pathOf(shard), shard.tensors, metadata),
    );
    clock.end("merge");
    if (!options.verify) return { reports };
    const tensors = shards.flatMap((shard) => shard.tensors);
    await using files = new AsyncDisposableStack();
    const [first] = shards;
    const written =
      gguf === undefined || first === undefined
        ? await openWritten(shards, pathOf, (file) => files.use(file))
        : await openWrittenGguf(pathOf(first), gguf, (file) => files.use(file));
    const largest = new Map(reports.map(({ name, maxAbsDelta }) => [name, maxAbsDelta]));
    observer.verify(tensors.length);
    const onTensor = () => observer.verified();
    const maxErrorUlp = await verifyMerge(tensors, this.#verified, written, rounding, largest, signal, onTensor);
    clock.end("verify");
    return { reports, maxErrorUlp };
  }
}

/** Starts to open the device, which takes its time; whatever happens meanwhile, it is closed in the end. */
function openGpu({ options, resources }: PreparedMerge): Promise<Device> {
  const opening = openDevice(options.device);
  opening.catch(() => {}); // reported to whoever waits for it
  resources.defer(async () => (await opening.catch(() => undefined))?.close());
  return opening;
}
