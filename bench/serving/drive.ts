import { ask, type Seen } from "./client.ts";
import type { LoadRequest } from "./load.ts";

/** One after the other. */
export async function alone(
  address: string,
  models: readonly string[],
  load: readonly LoadRequest[],
): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  for (const request of load)
    seen.push(await ask(address, models[request.model] ?? "", { ...request, leavesAfter: undefined }));
  return seen;
}

/** So many at a time. @returns seconds */
export async function crowded(
  address: string,
  models: readonly string[],
  load: readonly LoadRequest[],
  clients: number,
): Promise<number> {
  const start = performance.now();
  const left = load.values();
  const client = async (): Promise<void> => {
    for (const request of left) await ask(address, models[request.model] ?? "", { ...request, leavesAfter: undefined });
  };
  await Promise.all(Array.from({ length: clients }, client));
  return (performance.now() - start) / 1000;
}

/** At times that do not depend on the server. */
export async function open(
  address: string,
  models: readonly string[],
  load: readonly LoadRequest[],
  times: readonly number[],
) {
  const start = performance.now();
  const seen = await Promise.all(
    load.map(async (request, at) => {
      await Bun.sleep(Math.max(0, 1000 * (times[at] ?? 0) - (performance.now() - start)));
      return await ask(address, models[request.model] ?? "", request);
    }),
  );
  return { seen, seconds: (performance.now() - start) / 1000 };
}
