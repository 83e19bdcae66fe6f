/**
 * Writes RFC 5322 messages the many ways in which real senders write them. Everything here ends in
 * bytes, for 8-bit bodies are not text in any one encoding.
 */

const utf8 = new TextEncoder();

export type Charset = "utf-8" | "iso-8859-1" | "windows-1252" | "us-ascii";
export type Transfer = "7bit" | "8bit" | "quoted-printable" | "base64";

/** Characters that Windows-1252 has where ISO-8859-1 has control codes. */
const WINDOWS_1252 = new Map([
  ["€", 0x80],
  ["‚", 0x82],
  ["„", 0x84],
  ["…", 0x85],
  ["‘", 0x91],
  [
    "’",
    0x92,
  ],
  ["“", 0x93],
  ["”", 0x94],
  ["•", 0x95],
  ["–", 0x96],
  ["—", 0x97],
  ["™", 0x99],
]);

export function encodeText(text: string, charset: Charset): Uint8Array {
  if (charset === "utf-8") return utf8.encode(text);
  return Uint8Array.from(text, (character) => {
    const code = character.codePointAt(0)!;
    const special = charset === "windows-1252" ? WINDOWS_1252.get(character) : undefined;
    if (special === undefined && code > 255) {
      throw new RangeError(`${charset} has no character U+${code.toString(16)}`);
    }
    return special ?? code;
  });
}

export function base64(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

const hex = (byte: number) => "=" + byte.toString(16).toUpperCase().padStart(2, "0");

/** Lines of at most 76 characters, soft breaks, trailing blanks encoded. */
export function quotedPrintable(bytes: Uint8Array): string {
  const lines: string[] = [];
  let line = "";
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === 0x0d && bytes[i + 1] === 0x0a) {
      lines.push(line);
      line = "";
      i++;
      continue;
    }
    const endsLine = bytes[i + 1] === 0x0d || i + 1 === bytes.length;
    const plain = (byte >= 33 && byte <= 126 && byte !== 61) || (byte === 32 && !endsLine);
    const piece = plain ? String.fromCharCode(byte) : hex(byte);
    if (line.length + piece.length > 75) {
      lines.push(line + "=");
      line = "";
    }
    line += piece;
  }
  return [...lines, line].join("\r\n");
}

/**
 * Encoded words (RFC 2047) of at most 75 characters, never splitting a character, joined by folds
 * that a reader drops again.
 */
export function encodedWords(text: string, charset: Charset, form: "B" | "Q"): string {
  const head = `=?${charset.toUpperCase()}?${form}?`;
  const encode = (part: string) => {
    const bytes = encodeText(part, charset);
    if (form === "B") return base64(bytes);
    return [...bytes].map((byte) => {
      if (byte === 0x20) return "_";
      const letter = String.fromCharCode(byte);
      return /[A-Za-z0-9!*+/-]/.test(letter) && byte < 128 ? letter : hex(byte);
    }).join("");
  };
  const words: string[] = [];
  let part = "";
  for (const character of text) {
    if (head.length + encode(part + character).length + 2 > 74) {
      words.push(part);
      part = "";
    }
    part += character;
  }
  words.push(part);
  return words.map((word) => `${head}${encode(word)}?=`).join("\r\n ");
}

/** RFC 2231: a file name in percent form, in numbered pieces when it is long. */
export function filenameParameter(name: string): string {
  if (/^[\x20-\x7e]*$/.test(name)) return `filename="${name}"`;
  const encoded = encodeURIComponent(name).replace(
    /['()*!]/g,
    (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase(),
  );
  if (encoded.length < 50) return `filename*=UTF-8''${encoded}`;
  const pieces = encoded.match(/(?:%[0-9A-F]{2}|[^%]){1,24}/g)!;
  return pieces
    .map((piece, i) => `filename*${i}*=${i === 0 ? "UTF-8''" : ""}${piece}`)
    .join(";\r\n ");
}

export interface Part {
  headers: string[];
  body: Uint8Array;
}

export function textPart(
  text: string,
  subtype: "plain" | "html",
  charset: Charset,
  transfer: Transfer,
): Part {
  const bytes = encodeText(text.replace(/\r?\n/g, "\r\n"), charset);
  const encoded = transfer === "base64"
    ? wrapped(base64(bytes))
    : transfer === "quoted-printable"
    ? quotedPrintable(bytes)
    : null;
  return {
    headers: [
      `Content-Type: text/${subtype}; charset=${charset}`,
      `Content-Transfer-Encoding: ${transfer}`,
    ],
    body: encoded === null ? bytes : utf8.encode(encoded),
  };
}

export function filePart(
  name: string,
  mimeType: string,
  bytes: Uint8Array,
  contentId?: string,
): Part {
  return {
    headers: [
      `Content-Type: ${mimeType}`,
      "Content-Transfer-Encoding: base64",
      `Content-Disposition: ${contentId ? "inline" : "attachment"};\r\n ${filenameParameter(name)}`,
      ...(contentId ? [`Content-ID: <${contentId}>`] : []),
    ],
    body: utf8.encode(wrapped(base64(bytes))),
  };
}

export function multipart(subtype: string, parts: Part[], boundary: string): Part {
  const pieces: Uint8Array[] = [];
  for (const part of parts) {
    pieces.push(utf8.encode(`--${boundary}\r\n${part.headers.join("\r\n")}\r\n\r\n`));
    pieces.push(part.body, utf8.encode("\r\n"));
  }
  pieces.push(utf8.encode(`--${boundary}--\r\n`));
  return {
    headers: [`Content-Type: multipart/${subtype};\r\n\tboundary="${boundary}"`],
    body: joined(pieces),
  };
}

export function message(headers: string[], content: Part): Uint8Array {
  const head = [...headers, "MIME-Version: 1.0", ...content.headers].join("\r\n");
  return joined([utf8.encode(head + "\r\n\r\n"), content.body]);
}

function wrapped(text: string): string {
  return text.match(/.{1,76}/g)?.join("\r\n") ?? "";
}

export function joined(pieces: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
