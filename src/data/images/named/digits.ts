/** What the paper's code calls the classes of MNIST and SVHN. */
export const DIGITS: readonly string[] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

export const DIGIT_TEMPLATES: readonly string[] = ['a photo of the number: "{}".'];
