import { expect, test } from "bun:test";
import { veraConfig } from "./plan.ts";

test("PEFT's defaults, and what is said instead", () => {
  const usual = { r: 256, key: 0n, saveProjection: true, dInitial: 0.1, bias: false, fanInFanOut: false };
  expect(veraConfig({ settings: { peft_type: "VERA" }, configFile: "c" })).toMatchObject(usual);
  const given = {
    r: 7,
    projection_prng_key: -3,
    save_projection: false,
    d_initial: 0.2,
    bias: "vera_only",
    vera_dropout: 0.1,
    fan_in_fan_out: true,
    modules_to_save: ["norm"],
    from_the_future: 1,
  };
  expect(veraConfig({ settings: given, configFile: "c" })).toMatchObject({
    r: 7,
    key: -3n,
    saveProjection: false,
    dInitial: 0.2,
    bias: true,
    fanInFanOut: true,
    modulesToSave: ["norm"],
  });
});

test.each([
  [{ r: 0 }, '"r" is 0'],
  [{ r: 2.5 }, '"r" is 2.5'],
  [{ projection_prng_key: 2n ** 64n }, '"projection_prng_key" is 18446744073709551616'],
  [{ bias: "lora_only" }, '"bias" is "lora_only"'],
  [{ vera_dropout: 1.5 }, '"vera_dropout" is 1.5'],
  [{ d_initial: Infinity }, '"d_initial" is Infinity'],
  [{ save_projection: "yes" }, '"save_projection" is "yes"'],
])("%p is refused", (config, message) => {
  expect(() => veraConfig({ settings: config, configFile: "c" })).toThrow(`c: ${message}`);
});
