// Compiles the contracts with the pinned compiler into the artifacts that the Python package ships.
// `node compile.mjs` writes them; `node compile.mjs --check` builds again and fails where a tracked byte differs.
// The metadata hash is left out of the bytecode, so the same sources give the same bytes on every machine.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const CONTRACTS = ["FedRegistry", "RoundLedger", "RewardVault", "Challenges", "PrivacyLedger", "ModelRegistry"];
const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "..", "fedchain", "adapters", "evm", "artifacts");

const input = {
  language: "Solidity",
  sources: Object.fromEntries(CONTRACTS.map((name) => [`src/${name}.sol`, { content: source(`src/${name}.sol`) }])),
  settings: {
    evmVersion: "cancun",
    viaIR: true, // the round hash has more words than the legacy code generator can reach on the stack
    optimizer: { enabled: true, runs: 1000000 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "metadata", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
};

function source(path) {
  return readFileSync(join(here, path.startsWith("@") ? join("node_modules", path) : path), "utf8");
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

// The digests of our own sources let a test without a compiler see that an artifact is stale.
function digests(metadata) {
  const own = Object.keys(JSON.parse(metadata).sources).filter((path) => path.startsWith("src/"));
  return Object.fromEntries(own.map((path) => [path, createHash("sha256").update(source(path)).digest("hex")]));
}

function artifact({ abi, evm, metadata }) {
  const content = {
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
    sources: digests(metadata),
  };
  return `${JSON.stringify(sorted(content), null, 1)}\n`;
}

function build() {
  const findImport = (path) => ({ contents: source(path) });
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: findImport }));
  if (output.errors) fail(output.errors.map((error) => error.formattedMessage).join("\n")); // warnings are errors
  return CONTRACTS.map((name) => [name, artifact(output.contracts[`src/${name}.sol`][name])]);
}

function tracked(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function fail(line) {
  console.error(line);
  process.exit(1);
}

for (const [name, content] of build()) {
  const path = join(target, `${name}.json`);
  if (!process.argv.includes("--check")) writeFileSync(path, content);
  else if (tracked(path) !== content) {
    fail(`${name}.json: expected the bytes that src/${name}.sol compiles to, got others; run \`node compile.mjs\``);
  }
}
