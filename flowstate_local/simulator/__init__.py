"""The Apps Script simulator: TypeScript on Deno; see main.ts for what it does and how it starts."""
