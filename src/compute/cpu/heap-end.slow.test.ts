import { testHeapEnds } from "./testing/heap-ends.ts";

testHeapEnds((index) => index > 0);
