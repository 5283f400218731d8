import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { uploaded } from "../../compute/device/transfer.ts";
import { recordCopy } from "../../compute/tensor/elementwise.ts";
import { Run } from "../../compute/tensor/run.ts";
import { pitchOf, tensorIn } from "../../compute/tensor/tensor.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import type { Adapter } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { derivedDeltas, type FormFactors } from "../delta/low-rank/product.ts";
import { allocateStacks, factorsOf, Transposition } from "../delta/low-rank/derived.ts";
import { readAllValues, readValues } from "../files/tensors.ts";
import { fitAdapter, type FittedLayer, type TrainedTensors, unusedGenerator } from "../method/fit.ts";
import type { AdapterPlan, DeltaSource, PlanOptions } from "../method/plan.ts";
import {
  type NolaConfig,
  nolaConfig,
  basesScale,
  drawsOf,
  fillElements,
  GENERATOR,
  initialFactor,
  type NolaDraws,
  U_STREAM,
  V_STREAM,
} from "./draws.ts";
import { type FormedStack, initialStacks, NolaBases } from "./products.ts";

/** What NoLA trains of a module: the coefficients of A and of B. */
export const NOLA_TENSORS: TrainedTensors<Pick<NolaConfig, "bases">, "a" | "b"> = {
  names: { a: "nola_coefficients_A", b: "nola_coefficients_B" },
  shapes: ({ bases }) => ({ a: [bases], b: [bases] }),
  meaning: "both have num_bases elements",
};

/** One adapted weight: ΔW = scale · B·A, both factors from k coefficients. */
export interface NolaLayer extends FittedLayer<"a" | "b"> {
  readonly rank: number;
  /** alpha / r. */
  readonly scale: number;
}

/** Everything that applying a NoLA adapter to a base takes, checked; no tensor has been read yet. */
export interface NolaPlan extends AdapterPlan {
  readonly layers: readonly NolaLayer[];
  readonly draws: NolaDraws;
}

/**
 * Fits a NoLA adapter to a base. Throws `RandloraError` "adapter" with the reason when it cannot be applied, "format" for
 * a file that is incomplete.
 */
export function planNola(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): NolaPlan {
  const config = nolaConfig(adapter);
  const draws = drawsOf(adapter, config);
  const fit = fitAdapter(adapter, base, config, NOLA_TENSORS);
  const large = fit.layers.find(({ out, in: input }) => input > draws.maxIn || out > draws.maxOut);
  if (large === undefined) {
    const { r: rank, alpha } = config;
    const layers = fit.layers.map((layer) => ({ ...layer, rank, scale: alpha / rank }));
    const notes = unusedGenerator(adapter, options, "NoLA and records what draws it");
    // As PEFT merges a LoRA.
    const known = { ...fit, draws, layers, notes, bases: GENERATOR, roundsDelta: false } as const;
    return { ...known, load: async () => nolaDeltas(known) };
  }
  const theirs = `${quote(large.source)} of ${oneLine(base.path)} has [${large.shape.join(", ")}]`;
  const cause = `${theirs}, but the factors were drawn for ${draws.maxOut} × ${draws.maxIn} at most`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "the adapter was made for another model");
}

/** ΔW of its layers. All factors are formed at once, since their bases are the same: as large as a LoRA of this rank. */
export function nolaDeltas(plan: Pick<NolaPlan, "adapter" | "layers" | "draws">): DeltaSource {
  const { adapter, layers, draws } = plan;
  return derivedDeltas(layers, {
    share: (gpu, staging) => formFactors(gpu, plan, staging),
    async reference({ module, in: input, tensors }, { rows, cols }) {
      const { rank, bases, maxIn, maxOut } = draws;
      const initial = initialFactor(draws, module, input);
      const { a, b } = await readAllValues(adapter, tensors);
      const elements = new Float64Array(bases);
      /** Σ cᵢUᵢ/√k at row k of the factor. */
      const sum = (coefficients: Float32Array, stream: typeof U_STREAM | typeof V_STREAM, k: number, at: number) => {
        const most = stream === U_STREAM ? maxIn : maxOut;
        fillElements(draws, stream, elements, k * most + at, rank * most);
        return basesScale(draws) * elements.reduce((total, element, i) => total + element * itemAt(coefficients, i), 0);
      };
      const ranks = Array.from({ length: rank }, (_, k) => k);
      return {
        a: cols.map((col) => ranks.map((k) => itemAt(initial, k * input + col) + sum(a, U_STREAM, k, col))),
        b: rows.map((row) => ranks.map((k) => sum(b, V_STREAM, k, row))),
      };
    },
  });
}

async function formFactors(
  gpu: Device,
  { adapter, layers, draws }: Parameters<typeof nolaDeltas>[0],
  staging: Staging,
): Promise<FormFactors<NolaLayer>> {
  const { rank } = draws;
  // What is needed until the factors are formed.
  using owner = new DisposableStack();
  const brief = ownedBy(owner, gpu);
  const stacksOf = (label: string, lengths: readonly number[]) =>
    allocateStacks(
      gpu,
      label,
      lengths.map((cols) => ({ rows: rank, cols })),
    );
  const a = stacksOf(
    "factors A",
    layers.map((layer) => layer.in),
  );
  const bt = stacksOf(
    "factors B, turned",
    layers.map(({ out }) => out),
  );
  const initial = initialStacks(brief, layers, draws);
  using run = new Run(gpu, staging);
  for (const [side, stacks] of [["a", a] as const, ["b", bt] as const]) {
    const formed: FormedStack[] = [];
    for (const [at, stack] of stacks.entries()) {
      const values = new Float32Array(stack.modules.length * pitchOf(draws.bases, "F32"));
      for (const [row, module] of stack.modules.entries()) {
        const tensor = itemAt(layers, module).tensors[side];
        values.set(await readValues(adapter, tensor), row * pitchOf(draws.bases, "F32"));
      }
      const buffer = uploaded(brief, "coefficients", values);
      const value = tensorIn(buffer, [stack.modules.length, draws.bases], "F32");
      const coefficients = [{ at: 0, value, gradient: undefined }];
      formed.push({ stack, initial: side === "a" ? initial[at] : undefined, coefficients });
    }
    using panel = new DisposableStack();
    new NolaBases(ownedBy(panel, gpu), draws, side).form(run, formed);
    await run.submit();
  }
  const transposition = new Transposition(gpu, rank);
  const [ofA, ofBt] = [factorsOf(a), factorsOf(bt)];
  return (on, _, to, index) => {
    recordCopy(on, itemAt(ofA, index), to.a);
    transposition.narrow(on, itemAt(ofBt, index), to.b);
  };
}
