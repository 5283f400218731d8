import type { AdapterChoice } from "../../adapters/merge/loaded-adapter.ts";

/** A model that clients can name: the base, or the base with an adapter. */
export interface ServedModel {
  readonly id: string;
  /** None: the base. */
  readonly adapters: readonly AdapterChoice[];
  /** It was trained without the chat template: a chat continues its last message as it stands. */
  readonly raw: boolean;
  /**
   * The weights that it needs: the base's id, or where its adapters are merged into them a symbol of its own, as its id may be
   * given to another adapter later.
   */
  readonly weights: string | symbol;
}

/** Are a model's adapters merged into the weights, so that no other's rows may stand beside its own? */
export function isMerged({ weights }: ServedModel): boolean {
  return typeof weights === "symbol";
}
