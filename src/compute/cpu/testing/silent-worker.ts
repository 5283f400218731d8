// A worker that starts and never answers, for crew.test.ts.
declare const self: Worker;
self.addEventListener("message", () => {});
