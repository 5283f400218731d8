import names from "./flowers102-classes.txt" with { type: "text" };
import { being, shownAs, withArticles } from "./templates.ts";
import type { NamedSet } from "./types.ts";

const PHOTOS = ["blurry", "black and white", "low contrast", "high contrast", "bad", "good"];
const CIFAR = withArticles([...shownAs("photo", ...PHOTOS.map((kind) => `${kind} photo`)), ...being("small", "big")]);
const DIGITS = ['a photo of the number: "{}".'];

/** Sets that their authors pack as arrays (pickle, MATLAB, idx): the Hub has them in parquet, and folders of classes do as well. */
export const ARRAY_SETS: readonly NamedSet[] = [
  {
    name: "Cars",
    templates: [
      "a photo of a {}.",
      "a photo of the {}.",
      "a photo of my {}.",
      "i love my {}!",
      "a photo of my dirty {}.",
      "a photo of my clean {}.",
      "a photo of my new {}.",
      "a photo of my old {}.",
    ],
  },
  { name: "MNIST", templates: DIGITS },
  { name: "SVHN", templates: DIGITS },
  { name: "CIFAR10", templates: CIFAR },
  { name: "CIFAR100", templates: CIFAR },
  { name: "STL10", templates: withArticles(["a photo of * {}."]) },
  {
    name: "Flowers102",
    templates: ["a photo of a {}, a type of flower."],
    classes: names.trim().split("\n"),
  },
];
