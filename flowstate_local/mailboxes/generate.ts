/**
 * A sample mailbox: more than 200 messages in some 100 conversations over 18 months, written as
 * RFC 5322 text. The same seed and moment give the same bytes.
 *
 * Each message comes with what its sender meant, so that a test can hold a parser to it.
 */
import { Random } from "../simulator/clock.ts";
import { fileBytes, ME, MIME_TYPES, PEOPLE, type Person, type Topic, TOPICS } from "./corpus.ts";
import * as mime from "./mime.ts";

export interface MeantFile {
  name: string;
  mimeType: string;
  bytes: Uint8Array;
  inline: boolean;
}

export interface Meant {
  messageId: string;
  inReplyTo: string | null;
  from: Person;
  to: Person[];
  cc: Person[];
  subject: string;
  text: string;
  hasHtml: boolean;
  /** Null where the sender forgot the Date header. */
  dateMs: number | null;
  files: MeantFile[];
}

export interface GeneratedMessage {
  eml: Uint8Array;
  receivedAtMs: number;
  labels: string[];
  meant: Meant;
}

const CONVERSATIONS = 104;
const SPREAD_MS = 548 * 86_400_000;

export function generateMailbox(seed: number, nowMs: number): GeneratedMessage[] {
  const random = new Random(seed);
  const messages: GeneratedMessage[] = [];
  for (let number = 0; number < CONVERSATIONS; number++) {
    const topic = TOPICS[number % TOPICS.length];
    const other = PEOPLE[(number + Math.floor(number / TOPICS.length)) % PEOPLE.length];
    const age = ((number + random.next()) / CONVERSATIONS) * SPREAD_MS;
    const place = placeOf(number, topic);
    const length = 1 + (number % 4 === 0 ? 0 : random.integer(4));
    let atMs = Math.floor((nowMs - age) / 1000) * 1000;
    let before: Meant[] = [];
    for (let turn = 0; turn < length && atMs < nowMs; turn++) {
      const meant = meantMessage({ seed, number, turn, topic, other, atMs, before });
      messages.push({
        eml: written(meant, number + turn, before),
        receivedAtMs: atMs + 1000 * (1 + random.integer(20)),
        labels: labelsOf(place, meant, turn === length - 1, number),
        meant,
      });
      before = [...before, meant];
      atMs += 1000 * (60 + random.integer(86_400));
    }
  }
  return messages;
}

interface Turn {
  seed: number;
  number: number;
  turn: number;
  topic: Topic;
  other: Person;
  atMs: number;
  before: Meant[];
}

function meantMessage({ seed, number, turn, topic, other, atMs, before }: Turn): Meant {
  const mine = turn % 2 === 1;
  const hasFiles = turn === 0 || turn === 2;
  const kinds = hasFiles ? topic.files : [];
  const empty = number % 23 === 5 && turn === 0;
  const hasHtml = !empty && (number + turn) % 3 === 1;
  const files: MeantFile[] = kinds.map((kind, i) => ({
    name: `${topic.fileName}${kinds.length > 1 ? `-${i + 1}` : ""}.${kind}`,
    mimeType: MIME_TYPES[kind],
    bytes: fileBytes(kind, number * 10 + turn + i),
    inline: false,
  }));
  if (hasHtml && number % 7 === 3) {
    const bytes = fileBytes("png", number);
    files.push({ name: "logo.png", mimeType: "image/png", bytes, inline: true });
  }
  return {
    messageId: `<${seed}.${number}.${turn}@mail.example>`,
    inReplyTo: before.at(-1)?.messageId ?? null,
    from: mine ? ME : other,
    to: mine ? [other] : number % 6 === 2 ? [ME, PEOPLE[(number + 1) % PEOPLE.length]] : [ME],
    cc: number % 5 === 1 ? [PEOPLE[(number + 3) % PEOPLE.length]] : [],
    subject: turn === 0 ? topic.subject : `Re: ${topic.subject}`,
    text: empty
      ? ""
      : `${topic.body}\n\n${turn === 0 ? "" : "> on it\n"}Message ${number}.${turn}\n`,
    hasHtml,
    dateMs: number % 17 === 9 && turn === 0 ? null : atMs,
    files,
  };
}

function placeOf(number: number, topic: Topic): string[] {
  if (number % 29 === 11) return ["SPAM"];
  if (number % 31 === 13) return ["TRASH"];
  const user = topic.label && number % 4 !== 3 ? [topic.label] : [];
  return number % 3 === 2 ? user : ["INBOX", ...user];
}

function labelsOf(place: string[], meant: Meant, last: boolean, number: number): string[] {
  if (meant.from === ME) return ["SENT", ...place.filter((label) => label !== "INBOX")];
  return [
    ...place,
    ...(last && number % 3 === 0 ? ["UNREAD"] : []),
    ...(number % 9 === 4 ? ["STARRED"] : []),
    ...(number % 8 === 1 ? ["IMPORTANT"] : []),
  ];
}

// Writing: the variant decides on charsets, encodings and the shape of the message.

function written(meant: Meant, variant: number, before: Meant[]): Uint8Array {
  const ids = before.map((earlier) => earlier.messageId);
  const headers = [
    `Message-ID: ${meant.messageId}`,
    ...(ids.length ? [`In-Reply-To: ${ids.at(-1)}`, `References: ${ids.join("\r\n\t")}`] : []),
    `From: ${addresses([meant.from], variant)}`,
    `To: ${addresses(meant.to, variant)}`,
    ...(meant.cc.length ? [`Cc: ${addresses(meant.cc, variant + 1)}`] : []),
    subjectHeader(meant.subject, variant),
    ...(meant.dateMs === null ? [] : [`Date: ${dateHeader(meant.dateMs, variant)}`]),
  ];
  return mime.message(headers, content(meant, variant));
}

function content(meant: Meant, variant: number): mime.Part {
  const charset = charsetFor(meant.text, variant);
  const boundary = (level: string) => `=_${level}_${meant.messageId.replace(/[^0-9.]/g, "")}`;
  let body = mime.textPart(meant.text, "plain", charset, transferFor(meant.text, charset, variant));
  if (meant.hasHtml) {
    const paragraphs = meant.text.split("\n").map((line) => `<p>${line.replace(/>/g, "&gt;")}</p>`);
    const page = `<html><body>${paragraphs.join("\n")}</body></html>`;
    let html = mime.textPart(page, "html", "utf-8", "quoted-printable");
    const pictures = meant.files.filter((file) => file.inline);
    if (pictures.length) {
      const parts = pictures.map((file) =>
        mime.filePart(file.name, file.mimeType, file.bytes, "logo")
      );
      html = mime.multipart("related", [html, ...parts], boundary("rel"));
    }
    body = mime.multipart("alternative", [body, html], boundary("alt"));
  }
  const files = meant.files.filter((file) => !file.inline)
    .map((file) => mime.filePart(file.name, file.mimeType, file.bytes));
  if (files.length === 0) return body;
  // Some senders nest a mixed part in another one.
  const inner = variant % 4 === 2 ? mime.multipart("mixed", [body], boundary("in")) : body;
  return mime.multipart("mixed", [inner, ...files], boundary("mix"));
}

const LATIN_1 = /^[\p{ASCII}\xa0-\xff]*$/u;
const WINDOWS = /^[\p{ASCII}\xa0-\xff€‚„…‘’“”•–—™]*$/u;
const ASCII = /^\p{ASCII}*$/u;

function charsetFor(text: string, variant: number): mime.Charset {
  if (ASCII.test(text)) return variant % 2 ? "us-ascii" : "utf-8";
  if (LATIN_1.test(text) && variant % 3 !== 0) return "iso-8859-1";
  if (WINDOWS.test(text) && variant % 3 !== 2) return "windows-1252";
  return "utf-8";
}

function transferFor(text: string, charset: mime.Charset, variant: number): mime.Transfer {
  if (ASCII.test(text)) return variant % 5 === 0 ? "base64" : "7bit";
  if (charset === "utf-8" && variant % 3 === 1) return "base64";
  return variant % 4 === 1 ? "8bit" : "quoted-printable";
}

function phrase(text: string, variant: number): string {
  if (ASCII.test(text)) return text;
  const charset = charsetFor(text, variant);
  return mime.encodedWords(text, charset, variant % 2 ? "Q" : "B");
}

function addresses(people: Person[], variant: number): string {
  return people.map(({ name, address }) => {
    if (!name) return variant % 2 ? address : `<${address}>`;
    if (!ASCII.test(name)) return `${phrase(name, variant)} <${address}>`;
    return /[(),.']/.test(name) || variant % 3 === 0
      ? `"${name}" <${address}>`
      : `${name} <${address}>`;
  }).join(variant % 2 ? ", " : ",\r\n ");
}

/** Plain subjects are sometimes folded at a blank, in places where a reader would not expect it. */
function subjectHeader(subject: string, variant: number): string {
  if (!ASCII.test(subject)) return `Subject: ${phrase(subject, variant)}`;
  return `Subject: ${variant % 4 === 3 ? subject.replace(/ /g, "\r\n ") : subject}`;
}

function dateHeader(atMs: number, variant: number): string {
  const zone = [0, 60, -480, 330][variant % 4];
  const local = new Date(atMs + zone * 60_000).toUTCString().replace(/ GMT$/, "");
  const sign = zone < 0 ? "-" : "+";
  const digits = (value: number) => String(Math.floor(Math.abs(value))).padStart(2, "0");
  const day = variant % 5 === 4 ? local.replace(/^\w+, /, "") : local;
  return `${day} ${sign}${digits(zone / 60)}${digits(zone % 60)}`;
}
