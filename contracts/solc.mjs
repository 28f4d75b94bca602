#!/usr/bin/env node
// Looks like the native compiler to forge: no native one of the pinned version can be had from a package registry, so
// this drives the one of npm. It knows `--version` and `--standard-json` and reads no file that is not in its input.
import { readFileSync } from "node:fs";
import solc from "solc";

if (process.argv.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}`);
} else if (process.argv.includes("--standard-json")) {
  process.stdout.write(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error("solc.mjs: expected --version or --standard-json");
  process.exit(2);
}
