// Bundles src/ into the folder that the Python package serves. Same sources, same bytes.
import { build, context } from "esbuild";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";

const here = path.dirname(fileURLToPath(import.meta.url));
const out = process.env.LABWIRE_STATIC ?? path.join(here, "../src/labwire/web/static");

const options = {
  absWorkingDir: here,
  entryPoints: { app: "src/main.tsx", "app-style": "src/style.css", docs: "src/docs.css" },
  outdir: out,
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  logLevel: "info",
};

// What is inside the bundle is other people's work too, and their licences ask to be passed on.
async function licences() {
  const names = ["preact", "@preact/signals", "@preact/signals-core", "uplot"];
  const texts = names.map(async (name) => `${name}\n\n${(await readFile(path.join(here, "node_modules", name, "LICENSE"), "utf8")).trim()}\n`);
  await mkdir(out, { recursive: true });
  await writeFile(path.join(out, "licences.txt"), (await Promise.all(texts)).join("\n---\n\n"));
}

if (process.argv.includes("--watch")) {
  await (await context(options)).watch();
} else {
  await build(options);
  await licences();
}
