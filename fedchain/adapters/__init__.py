"""The world behind the ports: files, the embedded chain, Flower, Opacus, MLflow. Named by `fedchain.wiring` only."""
