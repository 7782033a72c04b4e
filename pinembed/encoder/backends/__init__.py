"""What computes image embeddings: torch, OpenVINO or ONNX Runtime, and the choice among them by measurement."""
