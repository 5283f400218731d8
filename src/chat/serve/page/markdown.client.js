"use strict";

/* Markdown as elements and text nodes: what a model writes never becomes markup. */

function element(name, ...children) {
  return filled(document.createElement(name), children);
}

/* One by one: as arguments of a call, a hundred thousand would overflow the stack. */
function filled(parent, children) {
  for (const child of children) parent.append(child);
  return parent;
}

/** A text that grows, shown as Markdown; only what may still change is drawn again. */
class MarkdownView {
  #body;
  /** Characters, and the elements made of them, that stay as they are. */
  #settled = 0;
  #kept = 0;

  constructor(body) {
    this.#body = body;
  }

  /** @param text begins with what was drawn last */
  draw(text) {
    const blocks = blocksOf(text.slice(this.#settled).split("\n"));
    while (this.#body.childNodes.length > this.#kept) this.#body.lastChild.remove();
    filled(this.#body, nodesOf(blocks));
    // The last line may become another one yet: it may join the block before it, but no earlier one.
    const settled = blocks.slice(0, -2);
    this.#settled += settled.at(-1)?.end ?? 0;
    this.#kept += settled.length;
  }
}

// For the other part of the page's script, chat.client.js.
Object.assign(globalThis, { MarkdownView, element });

/** Quotes within quotes, and lists within lists, are shown up to here; what models write beyond is text. */
const MAX_DEPTH = 8;
const FENCE = /^\s*(```+|~~~+)/;
const HEADING = /^#{1,6} /;
const ITEM = /^(\s*)(?:[-*+]|(\d+)[.)]) /;
const QUOTE = /^> ?/;
const BLANK = /^\s*$/;
const BEGINNINGS = [BLANK, HEADING, ITEM, FENCE, QUOTE];

/** Blocks, each with the place in the text where it ends. */
function blocksOf(lines, depth = 0) {
  const blocks = [];
  const quotes = depth < MAX_DEPTH;
  const begins = (line) => BEGINNINGS.some((pattern) => (quotes || pattern !== QUOTE) && pattern.test(line));
  let at = 0;
  let end = 0;
  const takeWhile = (holds) => {
    const first = at;
    while (at < lines.length && holds(lines[at], at)) at++;
    return lines.slice(first, at);
  };
  const takeAll = (pattern) => takeWhile((line) => pattern.test(line)).map((line) => line.replace(pattern, ""));
  while (at < lines.length) {
    const first = at;
    const line = lines[at];
    const fence = FENCE.exec(line)?.[1];
    let node;
    if (fence !== undefined) {
      at++;
      const code = takeWhile((one) => one.trim() !== fence);
      at++;
      node = codeBlock(code.join("\n"), /\w/.test(line));
    } else if (HEADING.test(line)) {
      at++;
      node = filled(element("h2"), inline(line.replace(/^#+ /, "")));
    } else if (ITEM.test(line)) {
      const { name, indent } = itemOf(line);
      const belongs = (one) => ITEM.test(one) && (itemOf(one).name === name || itemOf(one).indent >= indent + 2);
      [node] = lists(takeWhile(belongs).map(itemOf));
    } else if (beginsTable(lines, at)) {
      const head = cellsOf(line);
      at += 2;
      const rows = takeWhile((one) => !begins(one));
      node = table(head, cellsOf(lines[first + 1]), rows.map(cellsOf));
    } else if (quotes && QUOTE.test(line)) {
      node = filled(element("blockquote"), nodesOf(blocksOf(takeAll(QUOTE), depth + 1)));
    } else if (BLANK.test(line)) at++;
    else {
      at++;
      node = element("p");
      for (const [index, one] of [
        line,
        ...takeWhile((one, place) => !begins(one) && !beginsTable(lines, place)),
      ].entries()) {
        if (index > 0) node.append(element("br"));
        filled(node, inline(one));
      }
    }
    for (let i = first; i < at && i < lines.length; i++) end += lines[i].length + 1;
    if (node !== undefined) blocks.push({ node, end });
  }
  return blocks;
}

/* What most languages have, by name: lengths are bounded as below. */
const SYNTAX =
  /(?<comment>(?:\/\/|(?<=^|\s)#).*)|(?<string>(["'`])(?:\\.|(?!\3)[^\\\n]){0,1000}\3)|\b(?<number>\d[\w.]*)|\b(?<keyword>and|as|async|await|break|case|catch|class|const|continue|def|do|else|enum|export|false|fn|for|from|function|if|impl|import|in|interface|let|match|new|None|not|null|or|pub|return|static|struct|switch|this|throw|true|True|False|try|type|use|var|void|while|with|yield)\b/gm;

/* A longer text stays as it is: it would be colored anew with each piece that comes. */
const MOST_COLORED = 20_000;

function colored(text) {
  const parts = [];
  let end = 0;
  for (const { 0: all, index, groups } of text.matchAll(SYNTAX)) {
    const span = element("span", all);
    span.className = Object.keys(groups).find((name) => groups[name] !== undefined);
    parts.push(text.slice(end, index), span);
    end = index + all.length;
  }
  return [...parts, text.slice(end)];
}

/* Code of a language that is named is colored. Browsers have no clipboard for pages that come over a network without encryption. */
function codeBlock(text, hasLanguage) {
  const isColoured = hasLanguage && text.length <= MOST_COLORED;
  const block = element("div", element("pre", filled(element("code"), isColoured ? colored(text) : [text])));
  block.className = "code";
  if (!isSecureContext) return block;
  const copy = element("button", "Copy code");
  copy.type = "button";
  copy.className = "copy";
  block.prepend(copy);
  return block;
}

function nodesOf(blocks) {
  return blocks.map(({ node }) => node);
}

function itemOf(line) {
  const [mark, indent, number] = ITEM.exec(line);
  return { name: number === undefined ? "ul" : "ol", indent: indent.length, number, text: line.slice(mark.length) };
}

/** Lists of items, which those that are further to the right belong to. */
function lists(items, depth = 0) {
  const nodes = [];
  const inner = depth < MAX_DEPTH ? items[0].indent + 2 : Infinity;
  for (let at = 0; at < items.length;) {
    const { name, number, text } = items[at];
    let end = at + 1;
    while (end < items.length && items[end].indent >= inner) end++;
    if (nodes.at(-1)?.localName !== name) nodes.push(element(name));
    if (name === "ol" && !nodes.at(-1).hasChildNodes()) nodes.at(-1).start = number;
    const children = end === at + 1 ? [] : lists(items.slice(at + 1, end), depth + 1);
    nodes.at(-1).append(filled(element("li"), [...inline(text), ...children]));
    at = end;
  }
  return nodes;
}

function cellsOf(line) {
  const row = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return row.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/* A line of names and one of dashes, as many. */
function beginsTable(lines, at) {
  const [head, dashes = ""] = [lines[at], lines[at + 1]];
  if (!head.includes("|") || !/^[\s|:-]+$/.test(dashes)) return false;
  const cells = cellsOf(dashes);
  return cells.length === cellsOf(head).length && cells.every((cell) => /^:?-+:?$/.test(cell));
}

function table(head, dashes, rows) {
  const row = (name, cells) => {
    const own = dashes.map((dash, column) => {
      const cell = filled(element(name), inline(cells[column] ?? ""));
      if (dash.endsWith(":")) cell.align = dash.startsWith(":") ? "center" : "right";
      return cell;
    });
    return filled(element("tr"), own);
  };
  const body = rows.map((cells) => row("td", cells));
  return element("table", element("thead", row("th", head)), filled(element("tbody"), body));
}

/* Lengths are bounded: looking for an end that never comes, from every beginning, would take for ever. */
const INLINE =
  /(`{1,8})(.{1,1000}?)\1|\*\*(.{1,1000}?)\*\*|\*([^\s*](?:.{0,1000}?[^\s*])??)\*|\[([^\]\n]{1,1000})\]\((https?:\/\/[^\s)]{1,2000})\)|(https?:\/\/[^\s<>]{0,2000}[^\s<>.,;:!?"'*_)\]`|])/s;

function inline(text) {
  const parts = [];
  for (let rest = text; rest !== "";) {
    const found = INLINE.exec(rest);
    if (found === null) {
      parts.push(rest);
      break;
    }
    const [all, , code, bold, slanted, label, address, url] = found;
    parts.push(rest.slice(0, found.index));
    if (code !== undefined) parts.push(element("code", code.trim()));
    else if (bold !== undefined) parts.push(filled(element("strong"), inline(bold)));
    else if (slanted !== undefined) parts.push(filled(element("em"), inline(slanted)));
    else {
      const link = element("a", label ?? url);
      Object.assign(link, { href: address ?? url, rel: "noreferrer noopener", target: "_blank" });
      parts.push(link);
    }
    rest = rest.slice(found.index + all.length);
  }
  return parts;
}
