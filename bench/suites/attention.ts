import { OPS } from "../../src/compute/tensor/ops/index.ts";
import { Run } from "../../src/compute/tensor/run.ts";
import { type Shape, type Tensor, tensorBytes, tensorIn } from "../../src/compute/tensor/tensor.ts";
import type { Suite } from "../suite.ts";

/** The heads of the 135M model, and those of Gemma 4's layers that see all tokens. */
const SMALL = { heads: 9, kvHeads: 3, headSize: 64, of: "" } as const;
const LARGE = { heads: 8, kvHeads: 1, headSize: 512, of: "heads of 512, " } as const;
/** Tokens, in sequences of how many. */
const SIZES = [
  { tokens: 1024, length: 512, ...SMALL },
  { tokens: 1024, length: 128, ...SMALL },
  { tokens: 1024, length: 512, ...LARGE },
] as const;

/** Products of all queries of a sequence with the keys that they see: two forward, five backward. */
function gigaflops({ tokens, length, heads, headSize }: (typeof SIZES)[number], products: number): number {
  return (products * 2 * heads * headSize * (tokens / length) * ((length * (length + 1)) / 2)) / 1e9;
}

export const attentionSuite: Suite = {
  name: "attention",
  title: "attention of one layer of the 135M model, and of Gemma 4",
  unit: "GFLOP/s",
  async *cases(wanted, open) {
    using gpu = await open();
    using run = new Run(gpu);
    for (const size of SIZES) {
      const { tokens, length, heads, kvHeads, headSize, of } = size;
      const [width, kvWidth] = [heads * headSize, kvHeads * headSize];
      const name = (what: string) => `${of}${what}, ${tokens} tokens in sequences of ${length}`;
      if (!["forward", "backward"].some((what) => wanted(name(what)))) continue;
      const made: Tensor[] = [];
      const filled = (shape: Shape): Tensor => {
        const tensor = tensorIn(gpu.memory.allocate("operand", tensorBytes(shape, "F32")), shape, "F32");
        gpu.write(
          tensor.buffer,
          Float32Array.from({ length: shape[0] * tensor.pitch }, () => Math.random() - 0.5),
        );
        made.push(tensor);
        return tensor;
      };
      const starts = tensorIn(gpu.memory.allocate("starts", 4 * tokens), [1, tokens], "U32");
      gpu.write(
        starts.buffer,
        Uint32Array.from({ length: tokens }, (_, token) => token - (token % length)),
      );
      made.push(starts);
      const [q, y, dy, dq] = [0, 1, 2, 3].map(() => filled([tokens, width])) as [Tensor, Tensor, Tensor, Tensor];
      const kv = [0, 1, 2, 3].map(() => filled([tokens, kvWidth])) as [Tensor, Tensor, Tensor, Tensor];
      const [keys, values, dKeys, dValues] = kv;
      const lse = filled([tokens, heads]);
      const attributes = {
        headSize,
        firstPosition: 0,
        scale: headSize ** -0.5,
        window: Infinity,
        softcap: undefined,
        lse: true,
      };
      const forward = async () => {
        run.apply(OPS.attention, { q, keys, values, first: starts, last: undefined, sinks: undefined }, attributes, {
          y,
          lse,
        });
        await run.submit();
        await gpu.idle();
      };
      yield { name: name("forward"), amount: gigaflops(size, 2), run: forward };
      const into = { q: dq, keys: dKeys, values: dValues };
      const operands = { q, keys, values, first: starts, last: undefined, y, lse, dy, dlse: undefined, into };
      await forward();
      yield {
        name: name("backward"),
        amount: gigaflops(size, 5),
        run: async () => {
          run.compute("attentionGradient", { ...attributes, ...operands });
          await run.submit();
          await gpu.idle();
        },
      };
      for (const { buffer } of made) gpu.memory.release(buffer);
    }
  },
};
