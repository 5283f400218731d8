/** The name that stands for the model, and for the data, that this program carries with it. */
export const EMBEDDED = "embedded";
