import { expect, test } from "bun:test";
import { basisGradientKernel } from "./basis-gradient.ts";
import { convertKernel } from "./convert.ts";
import { deltaKernel } from "./delta.ts";
import { constants, kernelFamily } from "./family.ts";
import { uniformStruct } from "./parameters.ts";

test("a variant is expanded once, whoever asks for it again", () => {
  const delta = () => deltaKernel({ a: "ternary", b: "philox", pairing: "peft" });
  expect(delta()).toBe(delta());
  expect(basisGradientKernel("paper", "F16")).toBe(basisGradientKernel("paper", "F16"));
  expect(convertKernel("PHILOX", "f16")).toBe(convertKernel("PHILOX", "f16"));
});

test("a family has includes of its own beside those of all, and a key for each variant", () => {
  const family = kernelFamily(
    "test",
    "#include own\n#include parameters\n#include safe_tanh",
    uniformStruct({ rows: "u32" }),
    {
      own: "const n = ${N};",
    },
  );
  const [one, two] = [family({ N: 1 }), family({ N: 2 })];
  expect([one.key, two.key]).toEqual(["test/1", "test/2"]);
  expect(two.code).toStartWith("const n = 2;\nstruct Parameters {\n  rows: u32,\n}\n");
  expect(two.code).toContain("fn safe_tanh");
});

test("numbers that both languages name are WGSL's constants", () => {
  const text = constants({ hasDlse: 1, "gelu-tanh": 2, BF16: 3 });
  expect(text).toBe("const HAS_DLSE = 1u;\nconst GELU_TANH = 2u;\nconst BF16 = 3u;");
});
