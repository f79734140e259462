"""What several exporters do with ONNX graphs: build them, look into them, bind their inputs to columns."""
