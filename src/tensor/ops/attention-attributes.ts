export interface AttentionAttributes {
  /** Elements of a head; a multiple of 4, at most 256. */
  readonly headSize: number;
  /** Position of the first row of q, where `last` is left out; the rows of keys and values are positions from 0. */
  readonly firstPosition: number;
  /** What q·k is multiplied by; usually 1/√headSize. */
  readonly scale: number;
  /** Keys that a token sees at most, its last included; Infinity: all before that one. */
  readonly window: number;
  /** Scores become cap · tanh(score / cap); undefined: they do not. */
  readonly softcap: number | undefined;
  /** Is the output `lse` made? The derivative runs the forward pass again without it. */
  readonly lse?: boolean | undefined;
}
