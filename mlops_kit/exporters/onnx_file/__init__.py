"""Export ONNX files: columns and outputs are found, the graph itself stays as it is."""
