"""The store on nodes of IPFS: the RPC of Kubo, which js-ipfs and others speak, too."""
