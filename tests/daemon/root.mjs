// The CID that js-ipfs' importer gives to standard input, under the options of the profile unixfs-v1-2025.
import { importer } from 'ipfs-unixfs-importer'

const options = {
  cidVersion: 1,
  rawLeaves: true,
  reduceSingleLeafToSelf: true,
  chunker: 'fixed',
  maxChunkSize: 1048576,
  strategy: 'balanced',
  maxChildrenPerNode: 1024
}
const nowhere = { put: async () => {} }
for await (const entry of importer([{ content: process.stdin }], nowhere, options)) {
  console.log(entry.cid.toString())
}
