"""What fedchain costs, side by side with the bare work in one run: `make bench`."""
