import { expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { Batch } from "../../models/decoder/cache/batch.ts";
import { failure, until } from "./testing/server.ts";
import { ChatPage } from "./testing/page.ts";

setDefaultTimeout(60_000);

const chat = ChatPage.forTests();

// Of the page's script.
declare function writeChat(chat: object): boolean;
declare function readChats(): { id: string }[];

/** Answers every question with this text. */
async function answerWith(content: string): Promise<void> {
  const body = `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\ndata: [DONE]\n\n`;
  const { page } = chat;
  await page.route("**/v1/chat/completions", (route) => route.fulfill({ contentType: "text/event-stream", body }));
}

async function say(text: string): Promise<void> {
  await chat.page.getByLabel("Message").fill(text);
  await chat.page.getByLabel("Message").press("Enter");
  await chat.settle();
}

const click = (name: string) => chat.page.getByRole("button", { name, exact: true }).click();
const titles = () => chat.page.locator("#chats .title").allInnerTexts();
const said = () => chat.page.locator("article.user").allInnerTexts();

/** In the browser: leaves no room for a byte more. */
function fillStorage(): void {
  for (let size = 2 ** 23; size >= 1; size /= 2) {
    const filled = localStorage.getItem("other") ?? "";
    try {
      localStorage.setItem("other", filled + "x".repeat(size));
    } catch {
      // Half as much may fit.
    }
  }
}

/** Answers the next dialog of the page. */
function nextDialog(answer: string | true): void {
  chat.page.once("dialog", (dialog) => void dialog.accept(answer === true ? undefined : answer));
}

test("conversations are kept, listed, renamed, exported and deleted, and nothing in them is markup", async () => {
  const evil = '<img src=x onerror="document.title=1">';
  await answerWith(evil);
  await click("Chats");
  expect(await chat.page.locator("#none").isVisible()).toBeTrue();
  await say("One");
  await say("More");
  await click("New chat");
  await say(evil);
  expect(await titles()).toEqual([evil, "One"]);
  await chat.page.reload();
  await click("Chats");
  expect([await said(), await titles()]).toEqual([[evil], [evil, "One"]]);
  await click("One");
  expect([await said(), await chat.answers().count()]).toEqual([["One", "More"], 2]);

  nextDialog(`a "b" ${evil}`);
  await click("Rename");
  await until(async () => (await titles())[0] === `a "b" ${evil}`);
  const downloading = chat.page.waitForEvent("download");
  await click("Export");
  const download = await downloading;
  expect(download.suggestedFilename()).toBe("a-b-img-src-x-onerror-document-title-1.jsonl");
  const exported: unknown = JSON.parse(await Bun.file(await download.path()).text());
  const turn = (text: string) => [
    { role: "user", content: text },
    { role: "assistant", content: evil },
  ];
  expect(exported).toEqual({ messages: [...turn("One"), ...turn("More")] });

  // Another tab has the same list, a conversation of its own, and is told of changes.
  const other = await chat.page.context().newPage();
  await other.goto(chat.serving.address);
  await other.getByRole("button", { name: "Chats", exact: true }).click();
  expect(await other.locator("article").count()).toBe(0);
  expect(await other.locator("#chats .title").count()).toBe(2);
  nextDialog(true);
  await click("Delete");
  expect([await titles(), await said()]).toEqual([[evil], []]);
  await until(async () => (await other.locator("#chats .title").count()) === 1);
  expect(await chat.page.locator("img").count()).toBe(0);
  expect(await chat.page.title()).toBe("randlora");
  expect(chat.complaints).toEqual([]);
});

test("two tabs with one conversation: each sees what the other adds, and what both add at once is kept twice", async () => {
  await answerWith("Yes.");
  await click("New chat");
  await say("Both");
  const other = await chat.page.context().newPage();
  await other.goto(chat.serving.address);
  await other.getByRole("button", { name: "Chats", exact: true }).click();
  await other.getByRole("button", { name: "Both", exact: true }).click();
  const asked = { other: () => other.locator("article.user").allInnerTexts(), here: said };
  await say("From here");
  await until(async () => (await asked.other()).length === 2);
  // Of the other tab no answer comes until this one has had its own.
  const held = Promise.withResolvers<void>();
  await other.route("**/v1/chat/completions", async (route) => {
    await held.promise;
    const body = `data: ${JSON.stringify({ choices: [{ delta: { content: "Late." } }] })}\n\ndata: [DONE]\n\n`;
    await route.fulfill({ contentType: "text/event-stream", body });
  });
  await other.getByLabel("Message").fill("From there");
  await other.getByLabel("Message").press("Enter");
  await until(async () => (await asked.other()).length === 3);
  await say("Here again");
  held.resolve();
  await until(
    async () => (await other.locator("article.assistant").allInnerTexts()).at(-1)?.includes("Late.") === true,
  );
  expect(await asked.here()).toEqual(["Both", "From here", "Here again"]);
  expect(await asked.other()).toEqual(["Both", "From here", "From there"]);
  expect((await titles()).filter((title) => title === "Both")).toHaveLength(2);
  await other.close();
  expect(chat.complaints).toEqual([]);
});

test("a conversation that has no room stays in its tab when another one keeps something, and is kept as one when there is room", async () => {
  await answerWith("Yes.");
  await click("Chats");
  await say("One");
  await chat.page.evaluate(fillStorage);
  const other = await chat.page.context().newPage();
  await other.goto(chat.serving.address);
  await say("Two");
  const alert = chat.page.locator("#alert");
  expect(await alert.innerText()).toContain("The browser has no room for this conversation");
  await other.evaluate(() => localStorage.removeItem("other"));
  await until(async () => await chat.page.evaluate(() => localStorage.getItem("other") === null));
  await say("Three");
  expect([await said(), await titles()]).toEqual([["One", "Two", "Three"], ["One"]]);
  await chat.page.reload();
  expect(await said()).toEqual(["One", "Two", "Three"]);
  await other.close();
  expect(chat.complaints).toEqual([]);
});

test("what is kept has an end: the oldest go, and one that is too long is not kept", async () => {
  const kept = await chat.page.evaluate(() => {
    const messagesOf = (length: number) => [{ role: "user", content: "x".repeat(length) }];
    const put = (updated: number, length: number) => {
      const text = JSON.stringify({ title: "", updated, messages: messagesOf(length) });
      localStorage.setItem(`randlora.chat.${updated}`, text);
    };
    const write = (id: string, length: number) =>
      writeChat({ id, title: "", updated: Date.now(), messages: messagesOf(length) });
    const ids = () => readChats().map(({ id }) => id);
    for (let at = 1; at <= 105; at++) put(at, 10);
    const many = [write("new", 10), ids().slice(-1), readChats().length];
    const long = [write("long", 1_999_000), ids().length < 100];
    const tooLong = [write("longer", 2_000_000), ids().includes("longer")];
    // The browser's room, filled by something else.
    localStorage.clear();
    put(1, 300_000);
    put(2, 300_000);
    localStorage.setItem("other", "x".repeat(4_500_000));
    const crowded = [write("third", 300_000), ids()];
    // Nothing that may be forgotten would make enough of it.
    const inVain = [write("fourth", 1_500_000), ids()];
    localStorage.clear();
    return { many, long, tooLong, crowded, inVain };
  });
  expect(kept).toEqual({
    many: [true, ["7"], 100],
    long: [true, true],
    tooLong: [false, false],
    crowded: [true, ["third", "2"]],
    inVain: [false, ["third", "2"]],
  });
  // A byte more than there is fails: the theme has a key of its own.
  await chat.page.evaluate(fillStorage);
  await chat.page.reload();
  await chat.page.locator("#model option").first().waitFor({ state: "attached" });
  expect(chat.complaints).toEqual([]);
});

test("what another version of the page left, or a person, is no conversation", async () => {
  const left = ["{", "null", '"text"', '{"messages":[]}', '{"title":"a","updated":1,"messages":[{"role":"b"}]}'];
  await chat.page.evaluate((texts) => {
    for (const [at, text] of texts.entries()) localStorage.setItem(`randlora.chat.${at}`, text);
    sessionStorage.setItem("randlora.chat", "4");
  }, left);
  await chat.page.reload();
  await click("Chats");
  expect([await titles(), await chat.log().innerText()]).toEqual([[], ""]);
  expect(await chat.page.locator("#empty").isVisible()).toBeTrue();
  expect(chat.complaints).toEqual([]);
});

test("who waits is told how many requests come first", async () => {
  await chat.open({ parallel: 1 });
  await chat.setLength(4);
  await chat.page.getByLabel("Message").fill("Hi");
  const { client, engine } = chat.serving;
  const body = { model: "storyteller", prompt: "Once", max_tokens: 500 };
  const left = new AbortController();
  // While that is looked for steps are slow: the first one would be paused for the second within some milliseconds.
  const shown = Promise.withResolvers<void>();
  const { pass } = Batch.prototype;
  using slowed = spyOn(Batch.prototype, "pass").mockImplementation(async function (this: Batch, ...args) {
    await Promise.race([shown.promise, Bun.sleep(200)]);
    return await pass.apply(this, args);
  });
  const held = [1, 2].map((at) =>
    failure(client.completions.create({ ...body, user: String(at) }, { signal: left.signal })),
  );
  await until(() => engine.load === 2);
  await chat.page.getByLabel("Message").press("Enter");
  const footer = chat.answers().locator("footer");
  await footer.filter({ hasText: "the server is busy: 1 request before this one" }).waitFor();
  shown.resolve();
  slowed.mockRestore();
  left.abort();
  await Promise.all(held);
  await chat.settle();
  expect(await footer.innerText()).toContain("storyteller · 4 tokens");
  expect(chat.complaints).toEqual([]);
});

test("code is copied as the model wrote it", async () => {
  await chat.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  const code = 'if (a < b) {\n  print("<b>");\n}';
  await answerWith(`Here:\n\n\`\`\`js\n${code}\n\`\`\`\n\nand\n\n\`\`\`\nsecond\n\`\`\``);
  await say("Code?");
  const buttons = chat.page.getByRole("button", { name: "Copy code" });
  expect(await buttons.count()).toBe(2);
  await buttons.first().click();
  await chat.page.getByRole("button", { name: "Copied" }).waitFor();
  expect(await chat.page.evaluate("navigator.clipboard.readText()")).toBe(code);
  expect(chat.complaints).toEqual([]);
});
