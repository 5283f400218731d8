import * as v from "valibot";

/** What computes, for the report: nothing of it tells whose machine it is. */
const DeviceFacts = v.object({
  name: v.string(),
  vendor: v.string(),
  architecture: v.string(),
  driver: v.string(),
  software: v.boolean(),
  /** Of the CPU device: what its kernels are written in. */
  code: v.nullable(v.string()),
});
export type DeviceFacts = v.InferOutput<typeof DeviceFacts>;

/** Ten steps of training and the merge of what was trained. */
const Measured = v.object({
  run: v.string(),
  losses: v.array(v.number()),
  /** Global norms of the gradients before clipping. */
  gradientNorms: v.array(v.number()),
  /** SHA-256 of the adapter's and of the merged model's weight file. */
  adapter: v.string(),
  merged: v.string(),
});
export type Measured = v.InferOutput<typeof Measured>;

/** Lines of JSON from the process that checks to the one that watches it. */
export const Message = v.variant("kind", [
  v.object({ kind: v.literal("open"), device: DeviceFacts, checks: v.number() }),
  v.object({ kind: v.literal("begin"), at: v.number(), op: v.string(), format: v.string(), size: v.string() }),
  v.object({
    kind: v.literal("end"),
    at: v.number(),
    seconds: v.number(),
    wrong: v.optional(v.string()),
    measured: v.optional(Measured),
  }),
  /** The device failed, and nothing more comes. */
  v.object({ kind: v.literal("failure"), code: v.string(), message: v.string(), hint: v.string() }),
  v.object({ kind: v.literal("done") }),
]);
export type Message = v.InferOutput<typeof Message>;
