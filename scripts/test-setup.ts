import { setDefaultTimeout } from "bun:test";

// A kernel's first compile on a software GPU takes seconds on a busy machine. Nothing here tests speed.
setDefaultTimeout(120_000);
