"""heart_app: A Flower / PyTorch app."""
