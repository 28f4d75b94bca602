"""The Flower ClientApp and the site agent: thin adapters over one function, `Site.contribute(task)`."""
