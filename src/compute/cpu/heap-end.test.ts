import { testHeapEnds } from "./testing/heap-ends.ts";

// heap-end.slow.test.ts has the other cases.
testHeapEnds((index) => index === 0);
