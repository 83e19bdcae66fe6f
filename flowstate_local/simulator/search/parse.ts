/**
 * Gmail's query language as a tree.
 *
 * Terms side by side must all fit. OR (or |) joins its two neighbours and binds tighter than that:
 * `a b OR c` means a and (b or c). A minus negates what follows it, braces hold alternatives,
 * parentheses group, quotes make a phrase. An operator before a group goes to each term in it:
 * `subject:(lunch dinner)`.
 */

export type Query =
  | { kind: "all"; of: Query[] }
  | { kind: "any"; of: Query[] }
  | { kind: "not"; of: Query }
  | { kind: "term"; operator: string | null; value: string };

export const OPERATORS = new Set([
  "from",
  "to",
  "cc",
  "bcc",
  "subject",
  "has",
  "filename",
  "label",
  "in",
  "is",
  "newer_than",
  "older_than",
  "after",
  "before",
  "newer",
  "older",
  "larger",
  "smaller",
  "size",
  "rfc822msgid",
  "deliveredto",
]);

type Token =
  | { kind: "(" | ")" | "{" | "}" | "-" | "or" | "and" }
  | { kind: "operator"; name: string }
  | { kind: "text"; value: string };

const PATTERN = /\s*(?:([(){}])|"([^"]*)"?|(-)(?=[^\s-])|(OR|AND|\|)(?=\s|$)|([^\s(){}"]+))/y;

function tokens(query: string): Token[] {
  const found: Token[] = [];
  PATTERN.lastIndex = 0;
  for (let part = PATTERN.exec(query); part; part = PATTERN.exec(query)) {
    const [, bracket, quoted, minus, joint, word] = part;
    if (bracket) found.push({ kind: bracket as "(" });
    else if (quoted !== undefined) found.push({ kind: "text", value: quoted });
    else if (minus) found.push({ kind: "-" });
    else if (joint) found.push({ kind: joint === "AND" ? "and" : "or" });
    else if (word) found.push(...wordTokens(word));
    if (PATTERN.lastIndex >= query.length) break;
  }
  return found;
}

/** `from:amy` is an operator and its value; `from:` alone waits for a quote or a group. */
function wordTokens(word: string): Token[] {
  const colon = word.indexOf(":");
  const name = word.slice(0, colon).toLowerCase();
  if (colon <= 0 || !OPERATORS.has(name)) return [{ kind: "text", value: word }];
  const value = word.slice(colon + 1);
  const operator: Token = { kind: "operator", name };
  return value === "" ? [operator] : [operator, { kind: "text", value }];
}

class Parser {
  #at = 0;

  constructor(readonly tokens: Token[]) {}

  sequence(operator: string | null, closer: ")" | null): Query {
    const of: Query[] = [];
    for (let token = this.#peek(); token; token = this.#peek()) {
      if (token.kind === ")" || token.kind === "}") {
        this.#at++;
        if (token.kind === closer) break;
        continue; // a bracket that closes nothing is overlooked, as Gmail does
      }
      if (token.kind === "and" || token.kind === "or") {
        this.#at++;
        continue;
      }
      of.push(this.#alternatives(operator));
    }
    return of.length === 1 ? of[0] : { kind: "all", of };
  }

  #alternatives(operator: string | null): Query {
    const of = [this.#unary(operator)];
    while (this.#peek()?.kind === "or") {
      this.#at++;
      const next = this.#peek();
      if (!next || next.kind === ")" || next.kind === "}") break;
      of.push(this.#unary(operator));
    }
    return of.length === 1 ? of[0] : { kind: "any", of };
  }

  #unary(operator: string | null): Query {
    const token = this.tokens[this.#at++];
    switch (token?.kind) {
      case "-":
        return { kind: "not", of: this.#unary(operator) };
      case "(":
        return this.sequence(operator, ")");
      case "{":
        return this.#braces(operator);
      case "operator":
        return this.#unary(token.name);
      case "text":
        return { kind: "term", operator, value: token.value };
      default:
        return { kind: "all", of: [] };
    }
  }

  #braces(operator: string | null): Query {
    const of: Query[] = [];
    for (let token = this.#peek(); token; token = this.#peek()) {
      if (token.kind === "}") {
        this.#at++;
        break;
      }
      if (token.kind === "or" || token.kind === "and" || token.kind === ")") this.#at++;
      else of.push(this.#unary(operator));
    }
    return { kind: "any", of };
  }

  #peek(): Token | undefined {
    return this.tokens[this.#at];
  }
}

/** Never refuses: Gmail makes the best of whatever is typed. */
export function parseQuery(query: string): Query {
  return new Parser(tokens(query)).sequence(null, null);
}
