import { expect, test } from "bun:test";
import { deltaKernel } from "./delta.ts";
import { everyKernel } from "../testing/every-kernel.ts";
import { constants, gpuKernels, kernelFamily } from "./family.ts";
import type { KernelSource } from "../pipelines.ts";
import { type GpuKernel, type UniformMembers, uniformStruct } from "./parameters.ts";

test("a variant is expanded once, whoever asks for it again", () => {
  const delta = () => deltaKernel({ a: "ternary", b: "philox", pairing: "peft" });
  expect(delta()).toBe(delta());
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

test("a declaration's flags are constants, bits of one word, and operands are read by name", () => {
  const kernel = gpuKernels("test", "#include constants\n#include parameters\n@binding(0) @binding(1)", {
    parameters: { flags: { hasX: 1, accumulate: 2 }, x: "elementsAt" },
    bindings: ["x?", "last"],
    constants: { most: 8 },
  })();
  expect(kernel.code).toContain("const HAS_X = 1u;\nconst ACCUMULATE = 2u;\nconst MOST = 8u;");
  expect(kernel.bindings).toEqual(["x?"]);
  const values = { flags: { accumulate: true }, x: { offset: 7 } };
  expect([...kernel.parameters(values)]).toEqual([2, 7, 0, 0]);
});

test("bindings are declared in the order and by the names that WGSL has", () => {
  const declared = everyKernel().filter(isDeclared);
  expect(declared.length).toBeGreaterThan(0);
  for (const { key, code, bindings } of declared) {
    const inWgsl = [...code.matchAll(/@binding\((\d+)\) var<storage[^>]*> (?:stored_)?(\w+?)_?:/g)];
    const names = inWgsl.map(([, at, name = ""]) => [
      Number(at),
      name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
    ]);
    expect(
      bindings.map((name, at) => [at + 1, name.replace("?", "")]),
      key,
    ).toEqual(names.toSorted());
  }
});

function isDeclared(source: KernelSource): source is GpuKernel<UniformMembers> {
  return "bindings" in source && Array.isArray(source.bindings) && source.bindings.length > 0;
}

test("numbers that both languages name are WGSL's constants", () => {
  const text = constants({ hasDlse: 1, "gelu-tanh": 2, BF16: 3 });
  expect(text).toBe("const HAS_DLSE = 1u;\nconst GELU_TANH = 2u;\nconst BF16 = 3u;");
});
