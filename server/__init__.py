"""The Flower ServerApp: the federated loop over `Grid.push_messages` and `Grid.pull_messages`."""
