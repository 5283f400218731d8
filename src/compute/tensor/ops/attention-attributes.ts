import type { AttentionAttributes as Scores } from "../../device/families/attention.ts";

export interface AttentionAttributes extends Scores {
  /** Is the output `lse` made? The derivative runs the forward pass again without it. */
  readonly lse?: boolean | undefined;
}
