import type { Device } from "../../compute/device/device.ts";
import type { Staging } from "../../compute/device/staging.ts";
import type { JointAdapter, Linears } from "../../models/blocks/linears.ts";
import type { Quantized } from "../../models/placed-weights.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import type { AdapterContent } from "../files/adapter.ts";
import type { ParameterPlan, Parameters } from "./parameters.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { DropoutMask } from "../../compute/random/dropout.ts";

/** What a method chose for itself and must choose again when a run is resumed, so that the same bits come out. */
export type MethodChoices = Readonly<Record<string, string | number | boolean | string[]>>;

/** What a user may want to know of a method before training. */
export interface MethodSummary extends Pick<Trainable, "modules" | "notes"> {
  readonly trainableParameters: number;
  /** The frozen weights that are quantized. */
  readonly quantized?: Quantized | undefined;
}

/** What will be trained: opened and checked, and placed on as many GPUs as one likes. */
export interface Trainable<M extends Method = Method> {
  /** The tensors that are trained. A run plans all it has, and allocates them once. */
  readonly parameters: readonly ParameterPlan[];
  /** One row an adapted module, or a trained tensor: its name, W's shape, and its trainable parameters. */
  readonly modules: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly parameters: number;
  }[];
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
  /**
   * Writes initial values, and makes what computes with the parameters.
   * @throws RandloraError `memory`; `format` where the choices of a resumed run do not fit the model
   */
  place(on: Placement): Promise<M>;
}

/** Where a method is placed. */
export interface Placement {
  /** Whoever places owns what is allocated here (`ownedBy`), and gives it back: a method releases nothing. */
  readonly gpu: Device;
  /** Those of the plans, perhaps among others; they are not the method's to release. */
  readonly parameters: Parameters;
  /** The decoder's tensors by their names in the checkpoint. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly place: PlaceOptions;
  /** Multiplies ΔW beside the adapter's own α/r; 1 by default. What is written of the adapter does not know of it. */
  readonly factor?: number;
  /** Makes what other adapters on the device may use as well, or takes theirs; left out: it is this one's own. See `SharedParts`. */
  readonly share?: (<T>(key: string, make: (gpu: Device) => T | Promise<T>) => Promise<T>) | undefined;
}

/** What a method's choices depend on. */
export interface PlaceOptions {
  readonly staging: Staging;
  /** Most tokens of a micro-batch. */
  readonly tokens: number;
  /** Most micro-batches of a step. */
  readonly microBatches: number;
  /** GPU bytes that may be spent to save time. */
  readonly budget: number;
  /** Nothing will be differentiated: the adapter stands beside weights, of experts those alone that tokens go to. */
  readonly beside?: true;
  /** What the method chose when the run began, for a resumed one. */
  readonly choices: MethodChoices | undefined;
  /** The file that `choices` were read from, for messages; undefined where they were made just now. */
  readonly choicesFile?: string | undefined;
}

/** What a micro-batch is computed for; step and micro-batch, from 0, tell the masks of dropout apart. */
export type PassKind =
  | { readonly kind: "train"; readonly step: number; readonly microBatch: number }
  | { readonly kind: "evaluate" };

/**
 * A method at work: how the decoder's matrices depend on what is trained, and what is written of it. The loop knows
 * nothing else of it. A step is: `prepare`, then for each shard, and in it for each micro-batch, a forward pass through
 * `linears` and a backward pass, then `finish`; at last the update of `parameters`.
 */
export interface Method {
  readonly choices: MethodChoices;
  /** Records initial values that depend on the frozen weights, once those have been read. A resumed run has its own. */
  readonly begin?: (run: Run) => void;
  /** Records what depends on the parameters alone (W'), once they have changed. */
  prepare(run: Run): void;
  /** The tensors whose gradients a tape adds up by itself, and where to. */
  watched(): readonly { readonly value: Tensor; readonly gradient: Tensor }[];
  /** How the decoder's projections are computed in this pass. */
  linears(pass: PassKind): Linears;
  /** As `linears`, over another method's in place of the plain ones; left out where the method does more than add to them. */
  readonly over?: ((pass: PassKind, base: Linears) => Linears) | undefined;
  /** Computes rows of a batch with those of others over the same bases; left out where each is computed alone. */
  readonly joint?: JointAdapter | undefined;
  /** W + ΔW itself, for what is made of it; left out where a method cannot form it. */
  readonly formed?: FormedWeights;
  /** Records what is left to do once every micro-batch of a shard has been differentiated; another shard may follow. */
  finish(run: Run): void;
  /** What is written of the adapter; undefined where the model is the result. @throws RandloraError `gpu` */
  readonly content?: () => Promise<AdapterContent>;
}

/** A method whose share of each output can be added to what another one computes. */
export interface Addend extends Method {
  readonly over: (pass: PassKind, base: Linears) => Linears;
}

/** The adapted weights of a method, by module, once it has prepared a step. */
export interface FormedWeights {
  /** What the method holds of a module anyway, (out, in) F32: W + ΔW, or ΔW alone. */
  held(module: string): { readonly tensor: Tensor; readonly of: "W + ΔW" | "ΔW" } | undefined;
  /**
   * Records rows `first` … of a module's ΔW into `target` (rows, in) F32, assigned. `first` is a multiple of `BLOCK_ROWS`;
   * the target can be bound at once.
   */
  record(run: Run, module: string, first: number, target: Tensor): void;
}

interface Part {
  readonly value: Promise<unknown>;
  readonly owner: DisposableStack;
  users: number;
}

/**
 * What several adapters use on a device and none changes, such as random bases: made by the first that asks for it, given back
 * with the last.
 */
export class SharedParts {
  readonly #device: Device;
  readonly #parts = new Map<string, Part>();

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * @param owner of an adapter: it uses the part until it is disposed of
   * @param key says all that the part is made of, and what it is
   * @param make is given a device whose memory is the part's
   * @throws whatever `make` does; nothing stays allocated
   */
  async take<T>(
    owner: Pick<DisposableStack, "defer">,
    key: string,
    make: (device: Device) => T | Promise<T>,
  ): Promise<T> {
    const part = this.#parts.get(key) ?? this.#make(make);
    this.#parts.set(key, part);
    part.users++;
    const leave = (): void => {
      if (--part.users > 0) return;
      this.#parts.delete(key);
      part.owner.dispose();
    };
    try {
      const value = await part.value;
      owner.defer(leave);
      return value as T; // what this key stands for
    } catch (thrown) {
      leave();
      throw thrown;
    }
  }

  #make<T>(make: (device: Device) => T | Promise<T>): Part {
    const owner = new DisposableStack();
    const value = Promise.try(make, ownedBy(owner, this.#device));
    return { value, owner, users: 0 };
  }
}

/** What is dropped of the input of each module's adapter (by its index) in one pass; undefined: nothing. */
export type Masks = ((module: number) => DropoutMask) | undefined;

/** What a pass of a run drops. */
export function dropoutMasks(rate: number, seed: number, pass: PassKind): Masks {
  if (rate === 0 || pass.kind !== "train") return undefined;
  return (module) => dropoutMask(rate, seed, pass, module);
}

/** The masks of so many micro-batches differ. */
export const DROPOUT_MICRO_BATCHES = 2 ** 16;

/**
 * The mask of one module's input in one micro-batch: a function of the seed and of these numbers, so that a resumed run
 * draws what an uninterrupted one would.
 */
export function dropoutMask(
  rate: number,
  seed: number,
  { step, microBatch }: PassKind & { kind: "train" },
  module: number,
): DropoutMask {
  if (microBatch >= DROPOUT_MICRO_BATCHES || module >= 2 ** 16)
    throw new RangeError(`micro-batch ${microBatch}, module ${module}`);
  return { rate, key: [seed >>> 0, Math.floor(seed / 2 ** 32)], stream: [step, microBatch * 2 ** 16 + module] };
}
