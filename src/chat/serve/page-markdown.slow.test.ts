import { expect, setDefaultTimeout, test } from "bun:test";
import { ChatPage } from "./testing/page.ts";

setDefaultTimeout(60_000);

const chat = ChatPage.forTests();

test("what a model writes never becomes markup", async () => {
  const evil =
    '<img src=x onerror="document.title=1"> **bold** `<b>` [x](javascript:alert(1)) [y](https://example.org)';
  const body = {
    choices: [{ delta: { content: `# Title\n\n- one\n- two\n\n\`\`\`\n<script>1</script>\n\`\`\`\n${evil}` } }],
  };
  await chat.page.route("**/v1/chat/completions", async (route) => {
    const contentType = "text/event-stream";
    await route.fulfill({ contentType, body: `data: ${JSON.stringify(body)}\n\ndata: [DONE]\n\n` });
  });
  await chat.page.getByLabel("Message").fill("<i>me</i>");
  await chat.page.getByLabel("Message").press("Enter");
  await chat.settle();
  const answer = chat.answers().locator(".body");
  expect(await answer.locator("img, script, b").count()).toBe(0);
  expect(await answer.locator("strong").innerText()).toBe("bold");
  expect(await answer.locator("li").allInnerTexts()).toEqual(["one", "two"]);
  expect(await answer.locator("pre").innerText()).toContain("<script>1</script>");
  expect(await answer.locator("a").evaluateAll((links) => links.map((link) => link.getAttribute("href")))).toEqual([
    "https://example.org",
  ]);
  expect(await chat.page.locator("article.user").innerText()).toBe("<i>me</i>");
  expect(await chat.page.title()).toBe("randlora");
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
  await chat.page.evaluate(script, events);
  await chat.page.getByLabel("Message").fill("Hi");
  await chat.page.getByLabel("Message").press("Enter");
}

test("of an answer that grows only the end is drawn again", async () => {
  await answerWith(["# One\n\n", "two\n\n", "three\n\n", ...Array<string>(20).fill("- four\n"), "\nfive"]);
  await chat.answers().locator("li").first().waitFor();
  await chat
    .answers()
    .locator("h2")
    .evaluate((heading) => heading.setAttribute("data-kept", ""));
  await chat.settle();
  expect(await chat.answers().locator("h2[data-kept]").innerText()).toBe("One");
  expect(await chat.answers().locator(".body").innerText()).toStartWith("One\n\ntwo\n\nthree\n\nfour\nfour\n");
  expect(chat.complaints).toEqual([]);
});

/** The page's own view of Markdown, in an element that is not shown. @returns the markup after each text */
async function drawn(texts: readonly string[]): Promise<readonly string[]> {
  return await chat.page.evaluate((texts) => {
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
  "Prices:\n| a | *b* |\n|:-|-:|\n| 1 | 2 | 3 |\n|4\nhttps://example.org/a_(b)?c. x | y\n\n- a\n  1. b\n  2. c\n     - d\n- e\n3. f\n",
  `${">".repeat(20)} deep\n${"> ".repeat(20)}deep\n\n> a\n\n> b`,
])("what grows is always what is drawn at once: %p", async (text) => {
  const growing = Array.from({ length: text.length + 1 }, (_, end) => text.slice(0, end));
  const atOnce = await Promise.all(growing.map((one) => drawn([one])));
  expect(await drawn(growing)).toEqual(atOnce.flat());
});

test("tables, lists in lists and addresses", async () => {
  const [markup] = await drawn(["Prices:\n| a | *b* |\n|--|-:|\n| 1 | 2 | 3 |\n| `x\\|y` |\n\nend | of\n--|--|--"]);
  const row = (...cells: readonly string[]) => `<tr>${cells.join("")}</tr>`;
  const head = row("<th>a</th>", '<th align="right"><em>b</em></th>');
  const body =
    row("<td>1</td>", '<td align="right">2</td>') + row("<td><code>x|y</code></td>", '<td align="right"></td>');
  const table = `<table><thead>${head}</thead><tbody>${body}</tbody></table>`;
  expect(markup).toBe(`<p>Prices:</p>${table}<p>end | of<br>--|--|--</p>`);
  const [listed] = await drawn(["- a\n  1. b\n  2. c\n    - d\n- e\n3. f\n4. g"]);
  const inner = '<ol start="1"><li>b</li><li>c<ul><li>d</li></ul></li></ol>';
  expect(listed).toBe(`<ul><li>a${inner}</li><li>e</li></ul><ol start="3"><li>f</li><li>g</li></ol>`);
  const [linked] = await drawn(["(see https://example.org/a?b=c_d.) [x](https://example.org) ftp://no"]);
  const [first, second] = linked?.match(/<a href="[^"]*"/g) ?? [];
  expect([first, second]).toEqual(['<a href="https://example.org/a?b=c_d"', '<a href="https://example.org"']);
});

test("code of a language that is named is colored, by comments, strings, numbers and keywords; its text is as it was", async () => {
  const code = "if a1 == 'x\\'# y': # z\n  return 1.5\nurl = \"https://example.org\"; // w";
  const [named, plain] = await drawn([`\`\`\`py\n${code}\n\`\`\``, `\`\`\`\n${code}\n\`\`\``]);
  expect(named?.match(/<span class="\w+">[^<]*/g)).toEqual([
    '<span class="keyword">if',
    `<span class="string">'x\\'# y'`,
    '<span class="comment"># z',
    '<span class="keyword">return',
    '<span class="number">1.5',
    '<span class="string">"https://example.org"',
    '<span class="comment">// w',
  ]);
  expect(plain).toInclude(code);
  expect(named?.replaceAll(/<\/?span[^>]*>/g, "")).toBe(plain);
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
  ["lists in each other", Array.from({ length: 500 }, (_, depth) => `${" ".repeat(2 * depth)}- a\n`).join("")],
  ["cells without end", `${"|".repeat(20_000)}\n${"|-".repeat(20_000)}\n${"|".repeat(20_000)}`],
  ["marks without end", "*a **b `c [d".repeat(5000)],
  ["quotes in code without end", `\`\`\`js\n${"'a\"b`".repeat(3000)}\n\`\`\``],
])("%s are shown, whatever a model writes", async (_, text) => {
  await answerWith([text, "\n\n# The end"]);
  await chat.settle();
  expect(await chat.answers().locator("h2").innerText()).toBe("The end");
  expect(chat.complaints).toEqual([]);
  expect(await chat.page.getByRole("alert").innerText()).toBe("");
});
