// Compose drawn heads from artists' parts with DiceBear: one JSON a line, with the parts chosen and the drawing as SVG.
//
//     npm install @dicebear/core@9.4.3 @dicebear/collection@9.4.3
//     node scripts/heads.mjs COUNT > heads.jsonl     # so many of each style
//
// The same count gives the same lines, and a smaller one gives the first of them.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const { resolve } = createRequire(`${process.cwd()}/`); // packages of the folder that it is called in
const load = (name) => import(pathToFileURL(resolve(name)));
const { createAvatar } = await load("@dicebear/core");
const collection = await load("@dicebear/collection");
const STYLES = ["adventurer", "bigEars", "bigSmile", "micah", "openPeeps", "personas", "toonHead"];

for (const style of STYLES) {
  const { creator, source, license } = collection[style].meta;
  console.error(`${style}: ${creator}, ${source}, ${license?.name}`);
  for (let index = 0; index < Number(process.argv[2]); index++) {
    // DiceBear's own generator gives seeds that differ by little parts that go together.
    const seed = createHash("sha256").update(`${style}-${index}`).digest("hex");
    const avatar = createAvatar(collection[style], { seed, size: 128 });
    const line = { style, index, parts: avatar.toJson().extra, svg: avatar.toString() };
    process.stdout.write(JSON.stringify(line) + "\n");
  }
}
