"""The experiment surface: one folder is one choice, one YAML file one option, read by Hydra."""
