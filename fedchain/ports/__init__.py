"""What the workflow needs from the world, as Protocols. Adapters implement them, `fedchain.wiring` chooses."""
