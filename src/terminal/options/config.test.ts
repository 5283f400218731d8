import { describe, expect, test } from "bun:test";
import { configValues } from "./config.ts";
import { sample as program } from "./testing/sample.ts";

function values(document: unknown, path = ["mix"]) {
  const source = typeof document === "string" ? document : JSON.stringify(document);
  return Object.fromEntries(configValues(program, path, "r.yaml", source));
}

describe("a configuration file", () => {
  test("speaks to every command that knows the key, in both spellings", () => {
    const document = {
      dtype: "f32",
      max_shard_size: 9,
      "no-special": true,
      pause: 3,
      scale: [1, 0.5],
      betas: [0.9, 0.95],
    };
    expect(values(document)).toMatchObject({
      dtype: ["f32"],
      "max-shard-size": ["9"],
      "no-special": ["true"],
      scale: ["1", "0.5"],
    });
    expect(values(document, ["show", "work"])).toMatchObject({ pause: ["3"] });
  });

  test("lets a command's own section overrule the top, wherever it stands", () => {
    expect(values({ mix: { dtype: "bf16" }, dtype: "f32" })).toEqual({ dtype: ["bf16"] });
    expect(values({ mix: { dtype: "bf16" }, dtype: "f32" }, ["fail"])).toEqual({ dtype: ["f32"] });
    expect(values({ show: { work: { pause: 1 }, json: true } }, ["show", "work"])).toEqual({
      pause: ["1"],
      json: ["true"],
    });
  });

  test("may be empty, and may leave values out", () => {
    expect(values(null)).toEqual({});
    expect(values({ dtype: null })).toEqual({});
  });

  test("is not looked into where it speaks to other commands", () => {
    const document = { mix: { dtpye: "f32", pause: 1 }, show: { wrok: 3 }, dtype: "f32" };
    expect(values(document, ["fail"])).toEqual({ dtype: ["f32"] });
    expect(values({ show: { work: { pause: 1 }, json: true } })).toEqual({});
  });

  const manyTimes = `stop: [&a ${"x".repeat(20_000)}, ${"*a, ".repeat(60)}]`;
  const refused: readonly [document: unknown, message: string, hint: string, path?: string[]][] = [
    [{ dtpye: "f32" }, "r.yaml: dtpye: no such option", "did you mean dtype?"],
    [{ mix: { pause: 1 } }, "r.yaml: mix: pause: no such option", ""],
    [{ show: { wrok: { pause: 1 } } }, "r.yaml: show: wrok: no such option", "did you mean work?", ["show", "work"]],
    [{ config: "other.yaml" }, "r.yaml: config: no such option", ""],
    [{ gait: "x" }, "r.yaml: gait: it means different", "put it under the name of a command: walk: { gait: … }"],
    [["dtype"], "r.yaml: not a mapping", ""],
    ["kwargs: { itself: &a [*a] }", "r.yaml: kwargs: too large", ""],
    [manyTimes, "r.yaml: stop: too large", ""],
  ];
  test.each(refused.map((one) => [one[1], one] as const))("is refused: %s", (_, [document, message, hint, path]) => {
    const refusal = expect(() => values(document, path));
    refusal.toThrow(expect.objectContaining({ code: "usage", message: expect.stringContaining(message) }));
    if (hint !== "") refusal.toThrow(expect.objectContaining({ hint }));
  });
});
