"""The simulation's engine: many clients of one round trained together, by the execution that suits their model."""
