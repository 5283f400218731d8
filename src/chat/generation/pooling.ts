/** Which hidden states stand for a text: the mean of all of its tokens', or its last token's. */
export const POOLINGS = ["mean", "last"] as const;
export type Pooling = (typeof POOLINGS)[number];
