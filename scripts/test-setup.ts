import { setDefaultTimeout } from "bun:test";

// A kernel's first compile on a software GPU takes seconds on a busy machine. Nothing here tests speed. Of several files Bun applies
// this to the first; `npm test` says the same by --timeout.
setDefaultTimeout(120_000);
