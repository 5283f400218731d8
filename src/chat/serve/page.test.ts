import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import type { AdapterChoice } from "../../adapters/merge/in-memory/weights.ts";
import type { LanguageModel } from "../language-model.ts";
import { loadStoriesModel, serveStories, type TestServer, until, writeAdapters } from "./testing/server.ts";
import { openBrowser } from "./testing/browser.ts";

setDefaultTimeout(60_000);

let folder: string;
let adapters: ReadonlyMap<string, AdapterChoice>;
let model: LanguageModel;
let browser: Browser;
const resources = new AsyncDisposableStack();
beforeAll(async () => {
  // First: where there is no browser, nothing else need be cleaned up.
  browser = await openBrowser();
  resources.defer(() => browser.close());
  folder = await mkdtemp(join(tmpdir(), "randlora-page-"));
  resources.defer(() => rm(folder, { recursive: true }));
  model = resources.use(await loadStoriesModel());
  adapters = await writeAdapters(folder);
}, 120_000);
afterAll(() => resources.disposeAsync());

let serving: TestServer;
let page: Page;
let complaints: string[];
beforeEach(async () => {
  serving = serveStories(model, { adapters });
  await open();
});
afterEach(async () => {
  await page.context().close();
  await serving[Symbol.asyncDispose]();
});

async function open(): Promise<void> {
  complaints = [];
  const context = await browser.newContext({ colorScheme: "dark" });
  page = await context.newPage();
  page.setDefaultTimeout(15_000);
  // What breaks the page's own rules (CSP) is told here, too.
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(serving.address);
}

const answers = () => page.locator("article.assistant");
const log = () => page.getByRole("log");

async function settle(): Promise<void> {
  await page.locator("#log:not([aria-busy])").waitFor();
  await page.getByRole("button", { name: "Send" }).waitFor();
}

async function setLength(tokens: number): Promise<void> {
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Longest answer").fill(String(tokens));
  await page.getByLabel("Temperature").fill("0");
}

test("a conversation by keyboard: ask, get the API's answer, switch to an adapter, try again", async () => {
  await setLength(12);
  const message = page.getByLabel("Message");
  await message.fill("Once upon");
  await message.press("Shift+Enter");
  await message.pressSequentially("a time");
  await message.press("Enter");
  await settle();
  const say = async (id: string): Promise<string> => {
    const messages = [{ role: "user" as const, content: "Once upon\na time" }];
    const body = { model: id, messages, max_tokens: 12, temperature: 0 };
    return (await serving.client.chat.completions.create(body)).choices[0]?.message.content ?? "";
  };
  const words = (text: string) => text.replaceAll(/\s+/g, " ").trim();
  expect(words(await answers().locator(".body").innerText())).toBe(words(await say("storyteller")));
  expect(await answers().locator("footer").innerText()).toMatch(/storyteller · 12 tokens/);

  await page.getByLabel("Model or adapter").selectOption("pirate");
  await page.getByRole("button", { name: "Try again" }).click();
  await settle();
  expect(words(await answers().locator(".body").innerText())).toBe(words(await say("pirate")));
  expect(await answers().count()).toBe(1);
  expect(await message.evaluate((field) => field.matches(":focus"))).toBeTrue();

  await answers().evaluate((article) => article.setAttribute("data-kept", ""));
  await message.fill("Go on");
  await page.getByRole("button", { name: "Send" }).click();
  await settle();
  expect([await answers().count(), await page.locator("article.user").count()]).toEqual([2, 2]);
  // A screen reader would read the whole conversation out again if it were put into the log anew.
  expect(await page.locator("[data-kept]").count()).toBe(1);
  expect(await page.getByRole("button", { name: "Try again" }).count()).toBe(1);
  await page.getByRole("button", { name: "New chat" }).click();
  expect(await log().innerText()).toBe("");
  expect(complaints).toEqual([]);
});

test("the page opens on what a request means that names no model; a choice and the conversation outlast a reload", async () => {
  await serving[Symbol.asyncDispose]();
  await page.context().close();
  serving = serveStories(model, { adapters, list: { preferred: "pirate" } });
  await open();
  const choice = page.getByLabel("Model or adapter");
  const message = page.getByLabel("Message");
  await page.locator("#model option").first().waitFor({ state: "attached" });
  expect(await choice.inputValue()).toBe("pirate");
  await setLength(8);
  await message.fill("Once upon a time");
  await message.press("Enter");
  await settle();
  await choice.selectOption("poet");
  await message.fill("Go on");
  await message.press("Enter");
  await settle();
  const before = await answers().allInnerTexts();
  await page.reload();
  await page.locator("#model option").first().waitFor({ state: "attached" });
  expect(await choice.inputValue()).toBe("poet");
  expect(await answers().allInnerTexts()).toEqual(before);
  expect(await page.locator("article.user").allInnerTexts()).toEqual(["Once upon a time", "Go on"]);
  // The model goes on with what was said before.
  const asked = page.waitForRequest("**/v1/chat/completions");
  await message.fill("And then");
  await message.press("Enter");
  expect((await asked).postDataJSON().messages).toHaveLength(5);
  await settle();
  await page.getByRole("button", { name: "New chat" }).click();
  await page.reload();
  expect(await log().innerText()).toBe("");
  // What another version of the page left, or a person, is no conversation.
  for (const left of ['{"messages":[]}', '"text"', "[1,{}]", "[null]"]) {
    await page.evaluate((text) => {
      addEventListener("pagehide", () => sessionStorage.setItem("randlora.conversation", text));
    }, left);
    await page.reload();
    expect(await log().innerText()).toBe("");
    expect(await page.locator("#empty").isVisible()).toBeTrue();
  }
  expect(complaints).toEqual([]);
});

test("a page that is left while an answer is written keeps what there is, and a question without one", async () => {
  await page.getByLabel("Message").fill("Once upon a time");
  await page.getByLabel("Message").press("Enter");
  await until(async () => (await answers().innerText()).length > 20);
  await page.reload();
  expect(await answers().innerText()).toContain("stopped");
  await page.getByRole("button", { name: "New chat" }).click();
  await page.route("**/v1/chat/completions", () => {}); // no answer comes
  await page.getByLabel("Message").fill("Hello?");
  await page.getByLabel("Message").press("Enter");
  await page.reload();
  expect(await page.getByLabel("Message").inputValue()).toBe("Hello?");
  expect(await log().innerText()).toBe("");
});

test("the rate that is shown is the server's, however the pieces come", async () => {
  const events = [
    { choices: [{ delta: { content: "all at once" } }] },
    { choices: [], usage: { completion_tokens: 40 }, timings: { predicted_per_second: 12.34 } },
  ].map((event) => `data: ${JSON.stringify(event)}\n\n`);
  await page.route("**/v1/chat/completions", (route) =>
    route.fulfill({ contentType: "text/event-stream", body: `${events.join("")}data: [DONE]\n\n` }),
  );
  await page.getByLabel("Message").fill("Hi");
  await page.getByLabel("Message").press("Enter");
  await settle();
  expect(await answers().locator("footer").innerText()).toContain("40 tokens · 12.3 tokens/s");
});

test.each(["Escape", "the button"])("an answer is stopped by %s, and what there is stays", async (how) => {
  await page.getByLabel("Message").fill("Once upon a time");
  await page.getByLabel("Message").press("Enter");
  await until(async () => (await answers().innerText()).length > 20);
  if (how === "Escape") await page.keyboard.press("Escape");
  else await page.getByRole("button", { name: "Stop" }).click();
  await settle();
  expect(await answers().innerText()).toContain("stopped");
  await until(() => serving.engine.load === 0);
  expect(complaints).toEqual([]);
});

test("what a model writes never becomes markup", async () => {
  const evil =
    '<img src=x onerror="document.title=1"> **bold** `<b>` [x](javascript:alert(1)) [y](https://example.org)';
  const body = {
    choices: [{ delta: { content: `# Title\n\n- one\n- two\n\n\`\`\`\n<script>1</script>\n\`\`\`\n${evil}` } }],
  };
  await page.route("**/v1/chat/completions", async (route) => {
    const contentType = "text/event-stream";
    await route.fulfill({ contentType, body: `data: ${JSON.stringify(body)}\n\ndata: [DONE]\n\n` });
  });
  await page.getByLabel("Message").fill("<i>me</i>");
  await page.getByLabel("Message").press("Enter");
  await settle();
  const answer = answers().locator(".body");
  expect(await answer.locator("img, script, b").count()).toBe(0);
  expect(await answer.locator("strong").innerText()).toBe("bold");
  expect(await answer.locator("li").allInnerTexts()).toEqual(["one", "two"]);
  expect(await answer.locator("pre").innerText()).toContain("<script>1</script>");
  expect(await answer.locator("a").evaluateAll((links) => links.map((link) => link.getAttribute("href")))).toEqual([
    "https://example.org",
  ]);
  expect(await page.locator("article.user").innerText()).toBe("<i>me</i>");
  expect(await page.title()).toBe("randlora");
});

/** Answers as a model would that writes these pieces, a frame after each. */
async function answerWith(pieces: readonly string[]): Promise<void> {
  const script = (events: readonly string[]): void => {
    const own = globalThis.fetch;
    const stream = (): ReadableStream =>
      new ReadableStream({
        async start(controller) {
          for (const event of events) {
            controller.enqueue(new TextEncoder().encode(`data: ${event}\n\n`));
            await new Promise((resolve) => setTimeout(resolve, 40));
          }
          controller.close();
        },
      });
    const answer = async (...args: Parameters<typeof fetch>): Promise<Response> =>
      String(args[0]).endsWith("completions") ? new Response(stream()) : await own(...args);
    Object.assign(globalThis, { fetch: answer });
  };
  const events = pieces.map((content) => JSON.stringify({ choices: [{ delta: { content } }] }));
  await page.evaluate(script, events);
  await page.getByLabel("Message").fill("Hi");
  await page.getByLabel("Message").press("Enter");
}

test("of an answer that grows only the end is drawn again", async () => {
  await answerWith(["# One\n\n", "two\n\n", "three\n\n", ...Array<string>(20).fill("- four\n"), "\nfive"]);
  await answers().locator("li").first().waitFor();
  await answers()
    .locator("h2")
    .evaluate((heading) => heading.setAttribute("data-kept", ""));
  await settle();
  expect(await answers().locator("h2[data-kept]").innerText()).toBe("One");
  expect(await answers().locator(".body").innerText()).toStartWith("One\n\ntwo\n\nthree\n\nfour\nfour\n");
  expect(complaints).toEqual([]);
});

/** The page's own view of Markdown, in an element that is not shown. @returns the markup after each text */
async function drawn(texts: readonly string[]): Promise<readonly string[]> {
  return await page.evaluate((texts) => {
    const { MarkdownView, document } = globalThis as unknown as {
      MarkdownView: new (body: { innerHTML: string }) => { draw(text: string): void };
      document: { createElement(name: string): { innerHTML: string } };
    };
    const body = document.createElement("div");
    const view = new MarkdownView(body);
    return texts.map((text) => {
      view.draw(text);
      return body.innerHTML;
    });
  }, texts);
}

test.each([
  "# Title\n\none *two\nthree* **four**\n1. a\n2) b\n\n- c\n* d\n> e\n> > f\n>g\n\n```js\n# no\n\n> no\n```\nend",
  "a\n-\n- b\n1\n1. c\n\n\n#\n## d\n~~~\ne\n```\n~~~\n[x](https://example.org) `f` ``g` ``\n",
  `${">".repeat(20)} deep\n${"> ".repeat(20)}deep\n\n> a\n\n> b`,
])("what grows is always what is drawn at once: %p", async (text) => {
  const growing = Array.from({ length: text.length + 1 }, (_, end) => text.slice(0, end));
  const atOnce = await Promise.all(growing.map((one) => drawn([one])));
  expect(await drawn(growing)).toEqual(atOnce.flat());
});

test.each([
  ["<em>", "*a* "],
  ["<li>", "- a\n"],
])("%s a hundred thousand times", async (tag, text) => {
  const [markup = ""] = await drawn([text.repeat(100_000)]);
  expect(markup.split(tag)).toHaveLength(100_001);
});

test.each([
  ["quotes in each other", ">".repeat(20_000)],
  ["quotes in each other, with blanks", `${"> ".repeat(20_000)}\n`.repeat(3)],
  ["marks without end", "*a **b `c [d".repeat(5000)],
])("%s are shown, whatever a model writes", async (_, text) => {
  await answerWith([text, "\n\n# The end"]);
  await settle();
  expect(await answers().locator("h2").innerText()).toBe("The end");
  expect(complaints).toEqual([]);
  expect(await page.getByRole("alert").innerText()).toBe("");
});

test("settings stay, errors are told, and the question with them", async () => {
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("System prompt").fill("word ".repeat(600));
  await page.getByLabel("Message").fill("Hello");
  await page.getByLabel("Message").press("Enter");
  await page.getByRole("alert").filter({ hasText: "the context of this model ends at 512 tokens" }).waitFor();
  expect(await page.getByLabel("Message").inputValue()).toBe("Hello");
  await page.getByRole("button", { name: /^Colors/ }).click();
  await page.getByRole("button", { name: /^Colors/ }).click();
  await page.reload();
  expect(await page.locator("html").getAttribute("data-theme")).toBe("dark");
  await page.getByRole("button", { name: "Settings" }).click();
  expect(await page.getByLabel("System prompt").inputValue()).toStartWith("word word");
});

test("a temperature is the server's until one is given, and again when that is taken back", async () => {
  const asked: unknown[] = [];
  await page.route("**/v1/chat/completions", async (route) => {
    asked.push(route.request().postDataJSON().temperature);
    const body = JSON.stringify({ choices: [{ delta: { content: "Hello" } }] });
    await route.fulfill({ contentType: "text/event-stream", body: `data: ${body}\n\ndata: [DONE]\n\n` });
  });
  await page.getByRole("button", { name: "Settings" }).click();
  for (const temperature of ["", "0.3", "0", ""]) {
    await page.getByLabel("Temperature").fill(temperature);
    await page.getByLabel("Message").fill("Hi");
    await page.getByLabel("Message").press("Enter");
    await settle();
  }
  expect(asked).toEqual([undefined, 0.3, 0, undefined]);
});

test("where a key is wanted the page asks for it", async () => {
  await serving[Symbol.asyncDispose]();
  await page.context().close();
  serving = serveStories(model, { apiKey: "secret" });
  await open();
  await page.getByRole("alert").filter({ hasText: "no API key" }).waitFor();
  await page.getByLabel("API key").fill("secret");
  await page.getByLabel("API key").press("Tab");
  await page.locator("#model option").first().waitFor({ state: "attached" });
  expect(await page.getByLabel("Model or adapter").inputValue()).toBe("storyteller");
});
