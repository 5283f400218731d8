import type { AdapterChoice } from "../../adapters/merge/in-memory/weights.ts";

/** A model that clients can name: the base, or the base with an adapter. */
export interface ServedModel {
  readonly id: string;
  /** None: the base. */
  readonly adapters: readonly AdapterChoice[];
  /** It was trained without the chat template: a chat continues its last message as it stands. */
  readonly raw: boolean;
  /** The id of the weights that it needs: its own where its adapters are merged into them, else the base's. */
  readonly weights: string;
}

/** Are a model's adapters merged into the weights, so that no other's rows may stand beside its own? */
export function isMerged({ id, weights, adapters }: ServedModel): boolean {
  return adapters.length > 0 && weights === id;
}
