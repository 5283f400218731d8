// Plays `bun:ffi` where there is none: nothing native can be reached, which the program's CPU device and log do without.
function refuse(): never {
  throw new Error("no native functions here");
}

export { refuse as CFunction, refuse as dlopen, refuse as linkSymbols, refuse as ptr, refuse as toArrayBuffer };
export const read = {};
