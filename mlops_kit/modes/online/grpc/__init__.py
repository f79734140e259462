"""The gRPC server's door."""
