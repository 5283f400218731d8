// Imported first: under Node nothing else is looked for.
if (process.versions.bun === undefined) {
  throw new Error("the library randlora needs Bun (bun run FILE); the command, npx randlora, works without it");
}
