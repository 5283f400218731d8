/** Which hidden states an embedding is of: the mean of all tokens', or the last token's. */
export const POOLINGS = ["mean", "last"] as const;
export type Pooling = (typeof POOLINGS)[number];
