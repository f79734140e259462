"""gRPC over HTTP/2, on the event loop that the HTTP door is on.

grpcio's own asyncio server hands every request through a thread and takes one at a time; this one does what it is
asked in the same turn of the loop, and what all connections ask in one turn is one batch. Handlers and their
context are grpcio's, as far as they are used here. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""
