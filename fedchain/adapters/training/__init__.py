"""Local training with Torch and Opacus, its noise, its accounting, and the evaluation of models."""
