/** The sample mailbox: enough of it, of every odd kind, and read as its senders meant it. */
import assert from "node:assert/strict";
import {
  type GeneratedMessage,
  generateMailbox,
} from "../../../flowstate_local/mailboxes/generate.ts";
import { ME } from "../../../flowstate_local/mailboxes/corpus.ts";
import { type Mail, parseMail } from "../../../flowstate_local/simulator/mail.ts";
import { Mailbox } from "../../../flowstate_local/simulator/mailbox.ts";

const NOW = Date.parse("2025-03-15T12:00:00Z");
const messages = generateMailbox(7, NOW);
const mails = await Promise.all(
  messages.map(({ eml, receivedAtMs }, i) => parseMail(eml, `m${i}`, receivedAtMs)),
);
const raws = messages.map(({ eml }) => new TextDecoder("latin1").decode(eml));

const person = ({ name, address }: { name: string; address: string }) =>
  name ? `${name} <${address}>` : address;

/** Line ends at the end are not part of what somebody meant. */
const text = (value: string) => value.replaceAll("\r\n", "\n").trimEnd();

function compare(mail: Mail, { meant, receivedAtMs }: GeneratedMessage): void {
  assert.equal(mail.messageId, meant.messageId);
  assert.equal(mail.from, person(meant.from));
  assert.equal(mail.to, meant.to.map(person).join(", "));
  assert.equal(mail.cc, meant.cc.map(person).join(", "));
  assert.equal(mail.subject, meant.subject);
  assert.equal(text(mail.text), text(meant.text));
  assert.equal(mail.html !== "", meant.hasHtml);
  assert.equal(mail.dateMs, meant.dateMs ?? receivedAtMs);
  assert.equal(mail.ancestors.at(-1) ?? null, meant.inReplyTo);
  const files = mail.attachments.map(({ name, mimeType, inline, bytes }) => ({
    name,
    mimeType,
    inline,
    bytes: [...bytes],
  }));
  const wanted = meant.files.map((file) => ({ ...file, bytes: [...file.bytes] }));
  const byName = (a: { name: string }, b: { name: string }) => a.name < b.name ? -1 : 1;
  assert.deepEqual(files.sort(byName), wanted.sort(byName));
}

Deno.test("there are more than two hundred messages", () => {
  assert.ok(messages.length >= 200, `${messages.length} messages`);
});

Deno.test("every message is read as its sender meant it", () => {
  messages.forEach((message, i) => {
    try {
      compare(mails[i], message);
    } catch (error) {
      throw new Error(`message ${i}:\n${raws[i].slice(0, 1500)}`, { cause: error });
    }
  });
});

const KINDS: [string, RegExp][] = [
  ["quoted-printable bodies", /Content-Transfer-Encoding: quoted-printable/],
  ["base64 bodies", /Content-Type: text\/plain[^]*?Content-Transfer-Encoding: base64/],
  ["8-bit bodies", /Content-Transfer-Encoding: 8bit\r\n\r\n[^]*[\x80-\xff]/],
  ["UTF-8 encoded words in B form", /^Subject: =\?UTF-8\?B\?/m],
  ["UTF-8 encoded words over several lines", /^Subject: =\?UTF-8\?[BQ]\?.*\r\n =\?UTF-8\?/m],
  ["ISO-8859-1 encoded words", /=\?ISO-8859-1\?[BQ]\?/],
  ["Windows-1252 encoded words", /=\?WINDOWS-1252\?[BQ]\?/],
  ["encoded words in Q form", /=\?UTF-8\?Q\?/],
  ["alternatives", /multipart\/alternative/],
  ["mixed parts in mixed parts", /multipart\/mixed[^]*multipart\/mixed/],
  ["pictures related to a page", /multipart\/related[^]*Content-ID: </],
  ["PDF attachments", /application\/pdf/],
  ["CSV attachments", /text\/csv/],
  ["image attachments", /image\/png/],
  ["file names of RFC 2231", /filename\*=UTF-8''/],
  ["file names of RFC 2231 in pieces", /filename\*0\*=UTF-8''[^]*filename\*1\*=/],
  ["folded subjects", /^Subject: \S+\r\n \S+\r\n \S+/m],
  ["folded references", /^References: <[^>]+>\r\n\t</m],
  ["missing dates", /^(?![^]*^Date: )/m],
  [
    "empty bodies",
    /Content-Type: text\/plain; charset=\S+\r\nContent-Transfer-Encoding: \S+\r\n\r\n$/,
  ],
];

for (const [kind, pattern] of KINDS) {
  Deno.test(`there are ${kind}`, () => {
    assert.ok(raws.some((raw) => pattern.test(raw)));
  });
}

Deno.test("lines are no longer than mail allows", () => {
  for (const raw of raws) {
    for (const line of raw.split("\r\n")) assert.ok(line.length <= 998, line);
  }
});

Deno.test("the same seed and moment give the same bytes", () => {
  const bytes = (seed: number) => generateMailbox(seed, NOW).map(({ eml }) => [...eml].join());
  assert.deepEqual(bytes(7), bytes(7));
  assert.notDeepEqual(bytes(8), bytes(7));
});

Deno.test("messages are spread over eighteen months and none is in the future", () => {
  const months = new Set(
    messages.map(({ receivedAtMs }) => Math.floor((NOW - receivedAtMs) / 2.63e9)),
  );
  for (let month = 0; month < 18; month++) assert.ok(months.has(month), `month ${month}`);
  assert.ok(messages.every(({ meant }) => (meant.dateMs ?? 0) < NOW));
});

Deno.test("conversations are put together by their references", () => {
  const box = new Mailbox(
    ME.address,
    mails.map((mail, i) => ({ mail, labels: messages[i].labels })),
  );
  const conversation = (id: string | null) => id!.split(".")[1];
  const expected = new Set(mails.map((mail) => conversation(mail.messageId)));
  assert.equal(box.threads.size, expected.size);
  for (const { messages } of box.threads.values()) {
    assert.equal(new Set(messages.map(({ mail }) => conversation(mail.messageId))).size, 1);
  }
  assert.ok([...box.threads.values()].some(({ messages }) => messages.length === 4));
});

Deno.test("labels and flags of all kinds are there", () => {
  const labels = new Set(messages.flatMap((message) => message.labels));
  for (const label of ["INBOX", "SENT", "UNREAD", "STARRED", "IMPORTANT", "TRASH", "SPAM"]) {
    assert.ok(labels.has(label), label);
  }
  assert.ok(labels.has("Finance/Invoices"));
});
