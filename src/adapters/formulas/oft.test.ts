import { expect, test } from "bun:test";
import type { JsonObject } from "../../files/lossless-json.ts";
import { readConfig } from "../formula/formula.ts";
import { testFormula } from "../testing/formula.ts";
import { OFT } from "./oft.ts";

// Blocks that divide the inputs, that are brought to what does, and one block.
const MODULES = [
  [23, 12, 4],
  [10, 24, 5],
  [12, 10, 16],
] as const;
testFormula(OFT, MODULES, { oft_block_size: 4 });
testFormula(OFT, MODULES, { oft_block_size: 4, num_cayley_neumann_terms: 2 });
testFormula(OFT, MODULES, { oft_block_size: 4, use_cayley_neumann: false });
testFormula(OFT, [[9, 12, 3]], { oft_block_size: 3, block_share: true, num_cayley_neumann_terms: 7 });

const config = (settings: JsonObject) => readConfig(OFT, { settings, configFile: "config" });

test.each([
  [{ num_cayley_neumann_terms: 65 }, '"num_cayley_neumann_terms" is 65: it must be 2 to 64'],
  [{ coft: true }, '"coft" is not supported'],
  [{ r: 8, oft_block_size: 0 }, '"oft_block_size" is missing or 0: blocks told by their number'],
  [{ oft_block_size: 0 }, '"oft_block_size" is missing or 0'],
])("%j is refused", (settings, reason) => {
  expect(() => config({ oft_block_size: 4, ...settings })).toThrow(`config: ${reason}`);
});

// As adjust_oft_parameters of peft/tuners/oft/layer.py has it.
test.each([
  [100, 32, 25],
  [10, 8, 10],
  [12, 5, 4],
  [12, 13, 12],
])("of %d inputs, blocks of %d become blocks of %d", (input, asked, size) => {
  const { own } = config({ oft_block_size: asked });
  const shape = [input / size, (size * (size - 1)) / 2];
  expect(OFT.tensors.shapes({ r: asked, own }, { module: "", out: 1, in: input })).toEqual({ q: shape });
});

test("a module that no block divides is refused", () => {
  const { own } = config({ oft_block_size: 5 });
  expect(OFT.misfit?.({ out: 1, in: 13 }, { r: 5, own })).toBe("no block size near 5 divides it");
});
