// A worker that ends as soon as it is told to start, for crew.test.ts.
process.exit();
