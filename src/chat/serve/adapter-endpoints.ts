import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import type { ApiParts, Call } from "./api-parts.ts";
import { ApiError } from "./api-error.ts";
import { type Bodies, parseBody } from "./body.ts";
import { networkOf } from "./job.ts";
import { readFields } from "./fields.ts";
import { optional } from "./schemas.ts";

const Name = v.pipe(v.string(), v.regex(/^[^\p{Cc}]{1,200}$/u, "must be a name of up to 200 characters"));
const Load = v.looseObject({ lora_name: Name, lora_path: v.pipe(v.string(), v.nonEmpty("must not be empty")) });
const Unload = v.looseObject({ lora_name: Name, lora_int_id: optional(v.number()) });

/** Adapters that come and go while a server runs, by vLLM's endpoints. @param bodies counts what is read */
export function adapterEndpoints(
  { models, engine, apiKey }: Pick<ApiParts, "models" | "engine" | "apiKey">,
  bodies: Bodies,
): Readonly<Record<"load" | "unload", (call: Call) => Promise<Response>>> {
  /** The fields of a request that may change adapters. @throws ApiError 400, 403 */
  const read = async <S extends v.GenericSchema & { readonly entries: object }>(
    { request, address, key }: Call,
    schema: S,
  ): Promise<v.InferOutput<S>> => {
    if (apiKey === undefined || key !== undefined) {
      const who = "only the holder of the key that the server was started with (--api-key) may change adapters";
      throw new ApiError(403, apiKey === undefined ? `${who}, and it was started without one` : who);
    }
    return await bodies.with(request, networkOf(address), async (body) => readFields(schema, parseBody(body)));
  };
  return {
    /** `/v1/load_lora_adapter`. @throws ApiError 400 for what does not fit the model, 403, 404 */
    async load(call) {
      const { lora_name: name, lora_path: path } = await read(call, Load);
      try {
        await models.load(name, path);
      } catch (thrown) {
        // Whoever has the operator's key is told what is wrong with his file.
        throw thrown instanceof RandloraError ? new ApiError(400, thrown.message, { cause: thrown }) : thrown;
      }
      return new Response(`Success: LoRA adapter '${name}' added successfully.`);
    },
    /** `/v1/unload_lora_adapter`. @throws ApiError 403, 404 */
    async unload(call) {
      const { lora_name: name } = await read(call, Unload);
      engine.placed.forget(models.unload(name));
      return new Response(`Success: LoRA adapter '${name}' removed successfully.`);
    },
  };
}
