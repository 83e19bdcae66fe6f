/**
 * Writes the sample mailbox to a folder, to look at:
 * `deno run --allow-write main.ts <folder> [seed]`. The simulator generates its own in memory.
 */
import { generateMailbox } from "./generate.ts";

const [folder, seed] = Deno.args;
if (!folder) {
  console.error("usage: main.ts <folder> [seed]");
  Deno.exit(2);
}
Deno.mkdirSync(folder, { recursive: true });
const messages = generateMailbox(Number(seed ?? 1), Date.now());
messages.forEach(({ eml }, i) => {
  Deno.writeFileSync(`${folder}/${String(i + 1).padStart(4, "0")}.eml`, eml);
});
console.log(`${messages.length} messages written to ${folder}`);
