// What attention and its gradients are told alike.

/** q (tokens, heads · head), keys and values (positions, kv heads · head), y as q; pitches are bytes from row to row. */
@unmanaged
export class Attended {
  tokens: u32;
  heads: u32;
  kvHeads: u32;
  /** Heads that share a kv head. */
  group: u32;
  /** Elements of a head. */
  head: u32;
  firstPosition: u32;
  /** Keys that a token sees at most. */
  window: u32;
  scale: f32;
  /** Scores become cap · tanh(score / cap); 0: they do not. */
  cap: f32;
  q: usize;
  qPitch: u32;
  keys: usize;
  keysPitch: u32;
  values: usize;
  valuesPitch: u32;
  /** First and last keys of tokens; either may be left out. */
  firsts: usize;
  lasts: usize;
  y: usize;
  yPitch: u32;
  /** log Σ exp(scores) of each head, or nothing. */
  lse: usize;
  lsePitch: u32;
}
