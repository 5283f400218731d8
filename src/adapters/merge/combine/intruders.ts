import type { Tensor } from "../../../compute/tensor/tensor.ts";
import { sliceRows, tensorBytes, tensorIn, write } from "../../../compute/tensor/tensor.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { itemAt } from "../../../files/item-at.ts";
import { widenToF32 } from "../../../files/safetensors/numbers.ts";
import { deltaSource, type LayerPlace } from "../../delta/on-device.ts";
import { takeSteps } from "../../frozen/drawing/bases.ts";
import type { AdapterPlan } from "../../method/plan.ts";
import { type Intruder, intruderSteps } from "../../svd/intruders.ts";
import { isTooLarge, wholeDelta } from "../in-memory/deltas.ts";

/**
 * An adapter without the intruder dimensions of W + ΔW (arXiv:2410.21228; PEFT's lora/intruders.py), but for a part of each: its ΔW
 * is ΔW + (kept − 1) Σ s·u·vᵀ over them.
 * @param onFound told of each weight how many it has
 * @throws RandloraError `adapter` for weights that are too large, or those of all experts together
 */
export function withoutIntruders(plan: AdapterPlan, kept: number, onFound: (count: number) => void): AdapterPlan {
  const { layers, adapter } = plan;
  const other = layers.find((layer) => isTooLarge(layer) || layer.shape.length !== 2);
  if (other !== undefined) {
    const cause = `singular vectors of ${quote(other.tensor)} [${other.shape.join(", ")}] are not computed`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "leave --reduce-intruders out");
  }
  return {
    ...plan,
    roundsDelta: false,
    rescales: true,
    async load(signal) {
      const source = await plan.load(signal);
      const known = new Map<number, readonly Intruder[]>();
      return deltaSource(layers, {
        share: (gpu, staging) => source.upload(gpu, staging),
        async place(_, shared, on) {
          const { gpu, owner, index, factor, weight } = on;
          const delta = owner.adopt(await shared.layer(index, factor, weight), (one) => one.release());
          const { rows, cols, dtype } = weight;
          const data = new Float32Array(rows * cols);
          widenToF32(await weight.read(0, rows), dtype, data);
          const change = await wholeDelta(gpu, delta, weight, plan.rescales === true);
          const adapted = change.map((value, at) => value + itemAt(data, at));
          const found = await takeSteps(intruderSteps({ rows, cols, data }, { rows, cols, data: adapted }), signal);
          known.set(index, found);
          onFound(found.length);
          const [left, right] = placed(on, found, kept - 1);
          return (run, block) => {
            delta.form(run, block);
            if (found.length === 0) return;
            const { firstRow, rows: count, target: buffer, at: offset = 0, pitch } = block;
            const y = { shape: [count, cols], dtype: "F32", buffer, offset, pitch } as const;
            recordGemm(run, { order: "NN", a: sliceRows(left, firstRow, count), b: right, y, accumulate: true });
          };
        },
        async reference({ conv1d }, { index, factor, sample, weight }) {
          const values = await source.reference(index, factor, sample, weight);
          const { rows, cols } = sample;
          return values.map((value, at) => {
            const place = [itemAt(rows, Math.floor(at / cols.length)), itemAt(cols, at % cols.length)] as const;
            const [row, col] = conv1d ? [place[1], place[0]] : place;
            const one = (sum: number, { value: s, left, right }: Intruder) =>
              sum + (kept - 1) * s * itemAt(left, row) * itemAt(right, col);
            return value + (known.get(index) ?? []).reduce(one, 0);
          });
        },
      });
    },
  };
}

/** Factors (rows, k) and (k, cols) of a sum of dimensions. */
function placed({ gpu, weight: { rows, cols } }: LayerPlace, found: readonly Intruder[], factor: number) {
  const k = Math.max(1, found.length);
  const [left, right] = [new Float32Array(rows * k), new Float32Array(k * cols)];
  for (const [at, { value, left: u, right: v }] of found.entries()) {
    u.forEach((element, row) => (left[row * k + at] = factor * value * element));
    right.set(v, at * cols);
  }
  const place = (values: Float32Array<ArrayBuffer>, shape: readonly [number, number]): Tensor => {
    const tensor = tensorIn(gpu.memory.allocate("intruder dimensions", tensorBytes(shape, "F32")), shape, "F32");
    write(gpu, tensor, values);
    return tensor;
  };
  return [place(left, [rows, k]), place(right, [k, cols])] as const;
}
