/** A sample as `finetune` reads it. */
type Sample = { readonly text: string } | { readonly prompt: string; readonly completion: string };

/** What a run is trained on, and what it is measured on. The number of samples is none of batch size times accumulation. */
interface Texts {
  readonly training: readonly Sample[];
  readonly heldOut: readonly Sample[];
}

/** Simple English, which a model of 135M parameters knows. */
export const PLAIN_TEXTS: Texts = {
  training: [
    { text: "Once upon a time there was a little cat. The cat had a red ball, and the ball was big." },
    { text: "Tom and Sue went to the park to play. It was a sunny day." },
    { prompt: "Mom said:", completion: " do not run so fast!" },
    { text: "The dog ran away and hid under the tree." },
    { text: "The end." },
    { prompt: "Once upon a time there was a dog named Max. Max", completion: " liked to dig, and he dug a big hole." },
    { text: "They were very happy and went home. Dad made soup, and they ate it all." },
    { prompt: "The bird", completion: " sang." },
    { text: "Lily saw a small boat on the lake. She wanted to ride it, but the wind was too strong." },
    { text: "A bee sat on a flower." },
  ],
  heldOut: [
    { text: "Once upon a time there was a girl who had a kite." },
    { prompt: "The cat and the dog", completion: " went to the park, and they were happy." },
  ],
};

/**
 * In the storyteller's own words, with something that it does not know yet: every box holds something. On words that
 * it never saw its first steps are so wrong that they make much of rounding.
 */
export const STORY_TEXTS: Texts = {
  training: [
    { text: "Once upon a time there was a little cat. The cat had a red box. In the box there was a cake." },
    { text: "Tom and his dog went to the park. They saw a big blue box. In the box there was a kite." },
    { prompt: "Sue looked at the box.", completion: " In the box there was a mouse." },
    { text: "The dog ran away with the box. Ben was sad and hungry, but he did not cry." },
    { text: "The end." },
    {
      prompt: "One day, Max went to the garden with his bird. He had a box.",
      completion: " In the box there was a hat.",
    },
    { text: 'Mom said: "Let us go home." At home there was a box. In the box there was a big red boat.' },
    { prompt: "The bird said:", completion: ' "What a little cake! Can we share it?"' },
    { text: "Lily could not find her box. She looked under the tree. In the box there was a book and a small ball." },
    { text: "Anna was happy. She had a drum, and they all went home." },
  ],
  heldOut: [
    { text: "There was a girl who had a box. Her name was Mia. In the box there was a ball." },
    { prompt: "The duck and the frog saw a little red box.", completion: " In the box there was a drum." },
  ],
};

export function jsonLines(samples: readonly Sample[]): string {
  return samples.map((sample) => `${JSON.stringify(sample)}\n`).join("");
}
